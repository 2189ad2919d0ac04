// Several models side by side: tables of candidates, and pictures with any two of them under a slider.
const data = JSON.parse(document.getElementById("data").textContent);
const label = (row) => data.entrants[row.entrant].label;
const number = (value, digits) => (value === null || value === undefined ? "–" : value === "inf" ? "∞" : value.toFixed(digits));
const size = (value) => (value === "inf" ? Infinity : value);
const tag = (status, count) => make("span", { class: `tag status-${status}` }, count === undefined ? status : `${count} ${status}`);

/** Columns of the first table: a name, a value for sorting, what is shown, and which way is better. */
function columns() {
  const plain = (name, title, better, digits, of, unit = "") => ({ name, title, better, of, show: (row) => number(of(row), digits), unit });
  const all = [{ name: "Result", title: "Pictures by verdict", better: 1, of: (row) => row.counts.ok - 1000 * row.counts.error, show: (row) => Object.entries(row.counts).filter(([, n]) => n).flatMap(([status, n]) => [tag(status, n), " "]) }];
  for (const m of data.truth.slice(0, 3)) all.push(plain(m.label, `${m.meaning}${m.unit ? `, ${m.unit}` : ""}; mean`, m.better, m.digits, (row) => row.truth[m.name]));
  all.push(plain("s", "Median seconds of the action for a picture, without loading, decoding and encoding", -1, 2, (row) => row.seconds));
  all.push(plain("MP/s", "Megapixels of sources a second, without the first picture", 1, 3, (row) => row.megapixels_per_second));
  all.push(plain("Load, s", "Seconds until the model was loaded, in a new process", -1, 1, (row) => row.load_seconds));
  all.push(plain("Peak, MB", "Largest resident memory of the candidate's process while the action ran; memory of a GPU is not in it", -1, 0, (row) => row.peak_mb));
  if (data.currency) all.push(plain(`${data.currency} / 1000`, "Price of 1,000 pictures, one at a time, from read to write", -1, 4, (row) => row.cost_per_1000));
  return all;
}

const COLUMNS = columns();
const order = { column: -1, descending: false };

function bestOf(values, better) {
  const known = values.map(size).filter((value) => typeof value === "number");
  if (!better || known.length < 2 || known.every((value) => value === known[0])) return null;
  return better > 0 ? Math.max(...known) : Math.min(...known);
}

function drawCandidates() {
  const rows = [...data.summaries];
  const chosen = COLUMNS[order.column];
  if (chosen) {
    const key = (row) => size(chosen.of(row) ?? null);
    rows.sort((a, b) => (key(a) === null || key(b) === null ? (key(a) === null) - (key(b) === null) : (order.descending ? -1 : 1) * (key(a) - key(b))));
  }
  const head = make("tr", {}, make("th", { scope: "col" }, "Candidate"));
  COLUMNS.forEach((column, index) => {
    const sort = () => {
      Object.assign(order, order.column === index ? { descending: !order.descending } : { column: index, descending: column.better > 0 });
      drawCandidates();
      $("candidates").querySelectorAll("thead button")[index].focus();
    };
    const sorted = order.column === index ? (order.descending ? "descending" : "ascending") : "none";
    head.append(make("th", { scope: "col", "aria-sort": sorted, class: index ? "num" : "" }, make("button", { type: "button", title: column.title, onclick: sort }, column.name)));
  });
  const body = make("tbody");
  const best = COLUMNS.map((column, index) => (index ? bestOf(rows.map(column.of), column.better) : null));
  for (const row of rows) {
    const entrant = data.entrants[row.entrant];
    const said = [row.model, row.fallback && `made by another model: ${row.fallback}`, entrant.failed].filter(Boolean).join("\n");
    const line = make("tr", {}, make("th", { scope: "row", title: entrant.text }, entrant.label, said ? make("br") : null, said ? make("small", {}, said) : null));
    COLUMNS.forEach((column, index) => {
      const isBest = best[index] !== null && size(column.of(row)) === best[index];
      line.append(make("td", { class: `${index ? "num" : ""}${isBest ? " best" : ""}` }, ...[column.show(row)].flat()));
    });
    body.append(line);
  }
  $("candidates").replaceChildren(make("thead", {}, head), body);
}

/** A table with one column per candidate and a line per metric. */
function drawTransposed(table, metrics, valueOf) {
  const head = make("tr", {}, make("th", { scope: "col" }, ""), ...data.summaries.map((row) => make("th", { scope: "col", class: "num" }, label(row))));
  const body = make("tbody");
  for (const metric of metrics) {
    const values = data.summaries.map((row) => valueOf(row, metric.name));
    const best = bestOf(values, metric.better);
    const cells = values.map((value) => make("td", { class: best !== null && size(value) === best ? "num best" : "num" }, number(value, metric.digits)));
    body.append(make("tr", { title: metric.meaning }, make("th", { scope: "row" }, metric.unit ? `${metric.label}, ${metric.unit}` : metric.label), ...cells));
  }
  table.replaceChildren(make("thead", {}, head), body);
}

function drawTables() {
  drawTransposed($("truth"), data.truth, (row, name) => row.truth[name]);
  drawTransposed($("scores"), data.scores, (row, name) => row.scores[name]);
  const names = [...new Set(data.summaries.flatMap((row) => Object.keys(row.steps)))].sort((a, b) => data.around.indexOf(a) - data.around.indexOf(b));
  drawTransposed($("steps"), names.map((name) => ({ name, label: name.replaceAll("_", " "), meaning: name, better: 0, digits: 3 })), (row, name) => row.steps[name]);
  const common = `${data.common} of ${plural(data.subjects.length, "picture")}: those that every candidate made which made any`;
  for (const hint of document.querySelectorAll(".over-common")) hint.textContent = `Means over ${common}.`;
  $("truth-section").hidden = !data.truth.length;
}

/** What a side can show: the source, the truth where there is one, every candidate in the table's order. */
function sides() {
  const all = [{ name: "source", shown: (subject) => subject.source }];
  if (data.subjects.some((subject) => subject.truth)) all.push({ name: "truth", shown: (subject) => subject.truth });
  for (const row of data.summaries) {
    all.push({ name: label(row), shown: (subject) => subject.outcomes[row.entrant].shown, why: (subject) => subject.outcomes[row.entrant].why, made: true });
  }
  return all;
}

const SIDES = sides();

function half(side, subject) {
  const addresses = side.shown(subject);
  if (!addresses) return make("figure", { class: "none" }, make("p", { class: "none" }, `${side.name}: ${(side.why && side.why(subject)) || "not there"}`));
  const ground = data.action === "rembg" && side.name !== "source" ? $("ground").value : "checker";
  return make("figure", { class: `${ground}${side.name === "source" && $("view").value === "1" ? " enlarged" : ""}` }, picture(addresses[Number($("view").value)] || addresses[0], `${side.name} of ${subject.name}`));
}

function outcomes(subject) {
  const shown = data.truth.slice(0, 2);
  const head = make("tr", {}, make("th", { scope: "col" }, "Candidate"), make("th", { scope: "col" }, "Verdict"), ...shown.map((m) => make("th", { scope: "col", class: "num", title: m.meaning }, m.label)), make("th", { scope: "col", class: "num" }, "s"));
  const body = make("tbody");
  for (const row of data.summaries) {
    const one = subject.outcomes[row.entrant];
    const said = [one.why, ...one.notes].filter(Boolean).join("\n");
    body.append(make("tr", {}, make("th", { scope: "row" }, label(row), said ? make("small", {}, said) : null), make("td", {}, tag(one.status)), ...shown.map((m) => make("td", { class: "num" }, number(one.truth[m.name], m.digits))), make("td", { class: "num" }, number(one.seconds, 2))));
  }
  return make("div", { class: "scroll" }, make("table", { class: "plain" }, make("thead", {}, head), body));
}

function drawSubjects() {
  const [left, right] = [SIDES[$("left").selectedIndex], SIDES[$("right").selectedIndex]];
  data.subjects.forEach((subject, index) => {
    const box = $("subjects").children[index].querySelector(".compare");

    slide(box, half(left, subject), half(right, subject), [left.name, right.name], subject.name, shapeOf(subject), 420);
  });
}

function shapeOf(subject) {
  return $("view").value === "1" && subject.part ? subject.part : subject.size;
}

function buildSubjects() {
  for (const subject of data.subjects) {
    const notes = subject.notes.length ? make("p", { class: "why" }, subject.notes.join("; ")) : null;
    $("subjects").append(make("article", { class: "card" }, make("div", { class: "compare" }), make("div", { class: "body" }, make("h3", {}, subject.name), make("small", {}, subject.size[0] ? `${subject.size[0]} × ${subject.size[1]} px` : ""), notes, outcomes(subject))));
  }
  for (const [id, at] of [["left", 0], ["right", SIDES.findIndex((side) => side.made)]]) {
    $(id).append(...SIDES.map((side) => make("option", {}, side.name)));
    $(id).selectedIndex = at;
  }
  $("ground-choice").hidden = data.action !== "rembg";
  for (const id of ["left", "right", "view", "ground"]) $(id).addEventListener("change", drawSubjects);
  window.addEventListener("resize", drawSubjects);
  drawSubjects();
}

drawCandidates();
drawTables();
buildSubjects();
document.documentElement.dataset.ready = "true";
