// Rows are numbers 0..n-1 into the columns of `rows`.
const data = JSON.parse(document.getElementById("data").textContent);
const rows = data.rows;
const count = rows.id.length;
const metricByName = new Map(data.metrics.map((metric) => [metric.name, metric]));
for (const name of Object.keys(rows.values)) {
  rows.values[name] = rows.values[name].map((v) => (v === "inf" ? Infinity : v === "-inf" ? -Infinity : v));
}
const text = (index) => data.texts[index];
const statusOf = (row) => data.statuses[rows.status[row]];
const failedOf = (row) => rows.failed[row] || [];
const thumbsOf = (row) => data.thumbs[row] || {};

const fileOf = (row) => rows.source[row].slice(rows.source[row].lastIndexOf("/") + 1);

/** The source as a person knows it: its file's name, below it the folder, which is cut from the left. */
function named(row) {
  const folder = rows.source[row].slice(0, -fileOf(row).length);
  return make("span", { class: "named", title: rows.source[row] }, make("span", { class: "file" }, fileOf(row)), " ", make("small", {}, make("bdi", { dir: "ltr" }, folder)));
}

function shown(metric, value) {
  if (value === null || value === undefined) return "–";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "-∞";
  return value.toFixed(metric.digits);
}

function checkLabel(check) {
  const metric = metricByName.get(check.metric);
  return `${metric ? metric.label : check.name} ${check.upper ? "too high" : "too low"}`;
}

/** A relative address for a stored key; every part is encoded, so a name cannot change the path. */
function stored(key) {
  return "../../" + key.split("/").map(encodeURIComponent).join("/");
}

function tagFor(row) {
  return make("span", { class: `tag status-${statusOf(row)}` }, statusOf(row));
}
