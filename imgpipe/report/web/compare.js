// Before and after: which pairs an image of the report has.
const MODES = [
  { name: "Result", under: "source", over: "result", left: "source", right: "result" },
  { name: "Matte", under: "source", over: "matte", left: "source", right: "cutout" },
  { name: "Difference", under: "result", over: "diff", left: "result", right: "difference" },
  { name: "Detail 1:1", under: "detail_source", over: "detail_result", left: "source, enlarged", right: "result" },
];

/** Two pictures under a slider, with one button per pair that this image has. */
function viewer(row, height) {
  const thumbs = thumbsOf(row);
  const modes = MODES.filter((mode) => thumbs[mode.under] && thumbs[mode.over]);
  const box = make("div", { class: "compare" });
  const heat = make("div", { class: "heat", hidden: true }, "0", make("i"), "32 of 255 and more");
  const buttons = make("div", { class: "modes", role: "group", "aria-label": "What to compare" });
  const whole = make("div", { class: "viewer" }, box, buttons, heat);
  const size = rows.size[row].slice(0, 2);
  if (!modes.length) {
    buttons.remove();
    if (thumbs.source) box.append(fitted(picture(thumbs.source, `source of ${fileOf(row)}`), size, height));
    else box.append(make("p", { class: "none" }, rows.error[row] ? "The source could not be shown." : "No thumbnail: only the worst images and a sample of the others have one."));
    return whole;
  }
  const show = (mode) => {
    box.classList.toggle("pixelated", mode.under.startsWith("detail"));
    const [under, over] = [[mode.under, mode.left], [mode.over, mode.right]].map(([kind, name]) => picture(thumbs[kind], `${name} of ${fileOf(row)}`));
    slide(box, under, over, [mode.left, mode.right], fileOf(row), size, height);
    heat.hidden = mode.over !== "diff";
    for (const button of buttons.children) button.setAttribute("aria-pressed", String(button.textContent === mode.name));
  };
  for (const mode of modes) {
    buttons.append(make("button", { type: "button", "aria-pressed": "false", onclick: () => show(mode) }, mode.name));
  }
  show(modes[0]);
  return whole;
}
