// One image in full, in a dialog.
function scoreTable(row) {
  const limits = data.limits[rows.limits[row]];
  const body = make("tbody");
  for (const metric of data.metrics) {
    const value = rows.values[metric.name][row];
    if (value === null) continue;
    const mine = data.checks.map((check, index) => ({ ...check, index })).filter((check) => check.metric === metric.name && limits[check.name] !== undefined);
    const failed = mine.some((check) => failedOf(row).includes(check.index));
    const allowed = mine.map((check) => `${check.upper ? "≤" : "≥"} ${limits[check.name]}`).join(", ");
    body.append(make("tr", { title: metric.meaning }, make("th", { scope: "row" }, metric.label), make("td", { class: failed ? "num worse" : "num" }, `${shown(metric, value)} ${metric.unit}`), make("td", { class: "num" }, allowed), make("td", {}, mine.length ? (failed ? "✕ outside" : "✓") : "")));
  }
  return make("table", { class: "plain" }, make("thead", {}, make("tr", {}, make("th", {}, "Score"), make("th", { class: "num" }, "Value"), make("th", { class: "num" }, "Allowed"), make("th", {}, ""))), body);
}

/** The command that overrules the checks, and a button that copies it. */
function reviewCommand(row) {
  const verb = { rejected: "accept", ok: "reject" }[statusOf(row)];
  if (!verb) return [];
  const quoted = `'${rows.source[row].replaceAll("'", "'\\''")}'`;
  const command = make("code", {}, `imgpipe review ${verb} --dataset ${data.dataset} ${rows.source[row].startsWith("-") ? "-- " : ""}${quoted}`);
  const copy = make("button", { type: "button", class: "copy", onclick: () => {
    getSelection().selectAllChildren(command);
    // Not navigator.clipboard: it is refused to a page of http://, and to a sandboxed one.
    copy.textContent = document.execCommand("copy") ? "Copied" : "Press Ctrl+C";
  } }, "Copy");
  return [command, " ", copy];
}

function facts(row) {
  const list = make("dl");
  const fact = (name, ...value) => list.append(make("dt", {}, name), make("dd", {}, ...value));
  fact("Source", make("code", {}, rows.source[row]));
  fact("Image id", make("code", {}, rows.id[row]));
  fact("Shard", text(rows.shard[row]));
  const [w0, h0, w1, h1] = rows.size[row];
  if (w0) fact("Size", w1 && (w1 !== w0 || h1 !== h0) ? `${w0} × ${h0} → ${w1} × ${h1}` : `${w0} × ${h0}`);
  if (rows.stage[row]) fact("Stopped at", text(rows.stage[row]).replaceAll("_", " "));
  if (rows.why[row]) fact("Why", text(rows.why[row]));
  if (rows.notes[row]) fact("Notes", text(rows.notes[row]));
  if (rows.fallback[row]) fact("Fallback", text(rows.fallback[row]));
  const command = reviewCommand(row);
  if (command.length) fact("Overrule", ...command);
  const files = rows.files[row].map((index) => text(index).split("\u0000").join(rows.id[row]));
  if (files.length) fact("Files", ...files.flatMap((key) => [make("a", { href: stored(key), target: "_blank", rel: "noopener" }, key), make("br")]));
  return list;
}

function openDetail(row) {
  const dialog = $("detail");
  const place = view.indexOf(row);
  const step = (by) => make("button", { type: "button", "aria-label": by < 0 ? "Previous image" : "Next image", disabled: place < 0 || !(place + by in view), onclick: () => go(by) }, by < 0 ? "◂" : "▸");
  const go = (by) => { if (place + by in view) { moveActive(place + by); openDetail(view[place + by]); } };
  const close = make("button", { type: "button", onclick: () => dialog.close() }, "Close");
  dialog.replaceChildren(
    make("div", { class: "bar" }, make("h2", { id: "detail-title" }, named(row)), tagFor(row), step(-1), step(1), close),
    make("div", { class: "content" }, make("div", {}), make("div", { class: "facts" }, facts(row), scoreTable(row))),
  );
  dialog.onkeydown = (event) => {
    if (event.target.tagName === "INPUT") return;
    if (event.key === "ArrowLeft") go(-1);
    if (event.key === "ArrowRight") go(1);
  };
  if (!dialog.open) dialog.showModal();
  dialog.querySelector(".content > div").replaceWith(viewer(row, 440));
  close.focus();
}
$("detail").addEventListener("click", (event) => { if (event.target === $("detail")) $("detail").close(); });
