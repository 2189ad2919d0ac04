// Two pictures under a slider.
function picture(path, alternative) {
  const image = make("img", { src: path, alt: alternative, loading: "lazy", decoding: "async", draggable: "false" });
  image.addEventListener("error", () => image.replaceWith(make("p", { class: "none" }, `${path.slice(0, 200)} is not there; copy the whole report folder`)), { once: true });
  return image;
}

/**
 * Fill `box` with `under` and, right of a border that a slider moves, `over`: elements that cover each other.
 * `size`: proportions where the pictures do not say; the border stays where it was.
 */
function slide(box, under, over, names, what, size, height) {
  const at = box.querySelector("input") ? box.querySelector("input").value : "50";
  const slider = make("input", { type: "range", min: "0", max: "100", step: "1", value: at, "aria-label": `${what}: from ${names[0]} to ${names[1]}` });
  slider.addEventListener("input", () => box.style.setProperty("--at", `${slider.value}%`));
  const stage = fitted(under, size, height);
  stage.append(make("div", { class: "upper" }, over), make("div", { class: "handle" }), slider);
  box.replaceChildren(stage, make("span", { class: "label left" }, names[0]), make("span", { class: "label right" }, names[1]));
}

/** A stage of the picture's proportions, as large as fits into a box of the given height. */
function fitted(image, [width0, height0], height) {
  const stage = make("div", { class: "stage" }, image);
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
