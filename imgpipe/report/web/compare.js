// Before and after: two pictures under a slider.
const MODES = [
  { name: "Result", under: "source", over: "result", left: "source", right: "result" },
  { name: "Matte", under: "source", over: "matte", left: "source", right: "cutout" },
  { name: "Difference", under: "result", over: "diff", left: "result", right: "difference" },
  { name: "Detail 1:1", under: "detail_source", over: "detail_result", left: "source, enlarged", right: "result" },
];

function picture(path, alternative) {
  const image = make("img", { src: path, alt: alternative, loading: "lazy", decoding: "async", draggable: "false" });
  image.addEventListener("error", () => image.replaceWith(make("p", { class: "none" }, `${path} is not there; copy the whole report folder`)), { once: true });
  return image;
}

/** Two pictures under a slider, with one button per pair that this image has. */
function viewer(row, height) {
  const thumbs = thumbsOf(row);
  const modes = MODES.filter((mode) => thumbs[mode.under] && thumbs[mode.over]);
  const box = make("div", { class: "compare" });
  const heat = make("div", { class: "heat", hidden: true }, "0", make("i"), "32 of 255 and more");
  const buttons = make("div", { class: "modes", role: "group", "aria-label": "What to compare" });
  const whole = make("div", { class: "viewer" }, box, buttons, heat);
  if (!modes.length) {
    buttons.remove();
    if (thumbs.source) box.append(fitted(picture(thumbs.source, `source of ${rows.id[row]}`), row, height));
    else box.append(make("p", { class: "none" }, rows.error[row] ? "The source could not be shown." : "No thumbnail: only the worst images and a sample of the others have one."));
    return whole;
  }
  const slider = make("input", { type: "range", min: "0", max: "100", step: "1", value: "50" });
  slider.addEventListener("input", () => box.style.setProperty("--at", `${slider.value}%`));
  const show = (mode) => {
    slider.setAttribute("aria-label", `${rows.id[row]}: from ${mode.left} to ${mode.right}`);
    box.classList.toggle("pixelated", mode.under.startsWith("detail"));
    const upper = make("div", { class: "upper" }, picture(thumbs[mode.over], `${mode.right} of ${rows.id[row]}`));
    const stage = fitted(picture(thumbs[mode.under], `${mode.left} of ${rows.id[row]}`), row, height);
    stage.append(upper, make("div", { class: "handle" }), slider);
    box.replaceChildren(stage, make("span", { class: "label left" }, mode.left), make("span", { class: "label right" }, mode.right));
    heat.hidden = mode.over !== "diff";
    for (const button of buttons.children) button.setAttribute("aria-pressed", String(button.textContent === mode.name));
  };
  for (const mode of modes) {
    buttons.append(make("button", { type: "button", "aria-pressed": "false", onclick: () => show(mode) }, mode.name));
  }
  show(modes[0]);
  return whole;
}

/** A stage of the picture's proportions, as large as fits into a box of the given height. */
function fitted(image, row, height) {
  const stage = make("div", { class: "stage" }, image);
  const [width0, height0] = rows.size[row];
  const lay = () => {
    const ratio = image.naturalWidth ? image.naturalWidth / image.naturalHeight : width0 && height0 ? width0 / height0 : 1;
    const available = stage.parentElement ? stage.parentElement.clientWidth || 300 : 300;
    const used = Math.min(height, available / ratio);
    stage.style.height = `${used}px`;
    stage.style.width = `${used * ratio}px`;
  };
  image.addEventListener("load", lay);
  requestAnimationFrame(lay);
  return stage;
}
