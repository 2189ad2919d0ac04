// All images: filters, sorting, and only the rows in sight as elements.
const ROW = 44;
const DEFAULT_COLUMNS = ["psnr_y", "ssim_y", "worst_window", "color_shift_255", "detail_ratio", "edge_pixel_loss", "seconds_total"];
const unfiltered = () => ({ statuses: new Set(data.statuses), reason: "", shard: "", words: [], metric: "", low: null, high: null });
const state = {
  ...unfiltered(),
  sort: "", descending: false, columns: data.metrics.map((m) => m.name).filter((name) => DEFAULT_COLUMNS.includes(name)),
};
let view = [];
let active = 0;
let haystack = null;

function matchesReason(row, reason) {
  const [kind, name] = [reason.slice(0, reason.indexOf(":")), reason.slice(reason.indexOf(":") + 1)];
  if (reason === "fallback") return rows.fallback[row] !== 0;
  if (kind === "check") return failedOf(row).some((index) => data.checks[index].name === name);
  if (kind === "error") return text(rows.error[row]) === name;
  if (kind === "text") return text(rows.why[row]).replace(/\d+(?:\.\d+)?/g, "…").includes(name);
  return statusOf(row) === name;
}

function matchesText(row) {
  // NFKC: what is typed is composed; names from macOS are not, and Japanese ones have letters of two widths.
  haystack = haystack || rows.id.map((id, i) => `${rows.source[i]}\n${id}\n${text(rows.why[i])}`.normalize("NFKC").toLowerCase());
  return state.words.every((word) => haystack[row].includes(word.normalize("NFKC")));
}

function matches(row) {
  if (!state.statuses.has(statusOf(row))) return false;
  if (state.shard && text(rows.shard[row]) !== state.shard) return false;
  if (state.reason && !matchesReason(row, state.reason)) return false;
  if (state.metric && (state.low !== null || state.high !== null)) {
    const value = rows.values[state.metric][row];
    if (value === null || (state.low !== null && value < state.low) || (state.high !== null && value >= state.high)) return false;
  }
  return !state.words.length || matchesText(row);
}

function sortKey(name) {
  if (rows.values[name]) return (row) => rows.values[name][row];
  if (name === "status") return (row) => rows.status[row];
  if (name === "why") return (row) => text(rows.why[row]) || null;
  return (row) => rows.source[row];
}

function refresh() {
  writeAddress();
  view = [];
  for (let row = 0; row < count; row++) if (matches(row)) view.push(row);
  if (state.sort) {
    const key = sortKey(state.sort);
    const sign = state.descending ? -1 : 1;
    view.sort((a, b) => {
      const [x, y] = [key(a), key(b)];
      if (x === null || y === null) return (x === null) - (y === null) || a - b; // not measured: always last
      return (x < y ? -sign : x > y ? sign : 0) || a - b;
    });
  }
  active = 0;
  $("table-scroll").scrollTop = 0;
  $("table-status").textContent = `${view.length.toLocaleString("en")} of ${plural(count, "image")}`;
  drawHead();
  drawRows();
}

function drawHead() {
  const header = (name, label, numeric, title) => {
    const sorted = state.sort === name ? (state.descending ? "descending" : "ascending") : "none";
    const button = make("button", { type: "button", title, onclick: () => sortBy(name) }, label);
    return make("th", { scope: "col", "aria-sort": sorted, class: numeric ? "num" : "" }, button);
  };
  const focused = document.activeElement && document.activeElement.closest ? document.activeElement.closest("#table thead th") : null;
  const focusIndex = focused ? [...focused.parentElement.children].indexOf(focused) : -1;
  const row = make("tr", {}, make("th", { scope: "col", class: "fixed" }, ""), header("source", "Image", false, "Sort by path"), header("status", "Status", false, "Sort by status"), header("why", "Why", false, "Sort by reason"));
  for (const name of state.columns) {
    const metric = metricByName.get(name);
    row.append(header(name, metric.label, true, `${metric.label}${metric.unit ? ", " + metric.unit : ""}. ${metric.meaning}`));
  }
  const widths = [52, 230, 96, null, ...state.columns.map(() => 122)];
  [...row.children].forEach((cell, i) => { if (widths[i]) cell.style.width = `${widths[i]}px`; });
  $("table").style.setProperty("--table-width", `${650 + 122 * state.columns.length}px`);
  $("table").querySelector("thead").replaceChildren(row);
  if (focusIndex >= 0 && row.children[focusIndex]) row.children[focusIndex].querySelector("button")?.focus();
}

function sortBy(name) {
  const better = metricByName.get(name) ? metricByName.get(name).better : 1;
  if (state.sort !== name) [state.sort, state.descending] = [name, better < 0]; // the worst first
  else state.descending = !state.descending;
  refresh();
}

function drawRow(index) {
  const row = view[index];
  const failed = new Set(failedOf(row).map((check) => data.checks[check].metric));
  const thumb = thumbsOf(row).source;
  const why = text(rows.why[row]);
  const line = make("tr", { "aria-rowindex": index + 2, class: index === active ? "active" : "", id: `row-${row}` },
    make("td", { class: "pic" }, thumb ? make("img", { src: thumb, alt: "", loading: "lazy", width: 38, height: 38 }) : null),
    make("td", {}, named(row)), make("td", {}, tagFor(row)), make("td", { title: why }, why));
  for (const name of state.columns) {
    line.append(make("td", { class: failed.has(name) ? "num bad" : "num" }, shown(metricByName.get(name), rows.values[name][row])));
  }
  line.addEventListener("click", () => { active = index; drawRows(); openDetail(row); });
  return line;
}

function drawRows() {
  const scroll = $("table-scroll");
  const body = $("table").querySelector("tbody");
  $("table").setAttribute("aria-rowcount", String(view.length + 1));
  if (!view.length) {
    body.replaceChildren(make("tr", { class: "spacer" }, make("td", { colspan: 4 + state.columns.length, class: "empty" }, "No image matches these filters.")));
    return;
  }
  const first = Math.max(0, Math.floor(scroll.scrollTop / ROW) - 10);
  const last = Math.min(view.length, Math.ceil((scroll.scrollTop + scroll.clientHeight) / ROW) + 10);
  const spacer = (height) => {
    const cell = make("td", { colspan: 4 + state.columns.length });
    cell.style.height = `${height}px`;
    return make("tr", { class: "spacer", "aria-hidden": "true" }, cell);
  };
  const drawn = [];
  if (first > 0) drawn.push(spacer(first * ROW));
  for (let index = first; index < last; index++) drawn.push(drawRow(index));
  if (last < view.length) drawn.push(spacer((view.length - last) * ROW));
  body.replaceChildren(...drawn);
  scroll.setAttribute("aria-activedescendant", `row-${view[active]}`);
}

function moveActive(to) {
  const scroll = $("table-scroll");
  active = Math.min(view.length - 1, Math.max(0, to));
  const [top, head] = [active * ROW, 40];
  if (top < scroll.scrollTop) scroll.scrollTop = top;
  else if (top + ROW > scroll.scrollTop + scroll.clientHeight - head) scroll.scrollTop = top + ROW - scroll.clientHeight + head;
  drawRows();
}

function buildTable() {
  const scroll = $("table-scroll");
  let waiting = false;
  scroll.addEventListener("scroll", () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; drawRows(); });
  });
  scroll.addEventListener("keydown", (event) => {
    if (event.target !== scroll || !view.length) return;
    const page = Math.max(1, Math.floor(scroll.clientHeight / ROW) - 2);
    const to = { ArrowDown: active + 1, ArrowUp: active - 1, PageDown: active + page, PageUp: active - page, Home: 0, End: view.length - 1 }[event.key];
    if (to !== undefined) { event.preventDefault(); moveActive(to); }
    if (event.key === "Enter") { event.preventDefault(); openDetail(view[active]); }
  });
  window.addEventListener("resize", drawRows);
}

function options(select, choices) {
  select.replaceChildren(...choices.map(([value, label]) => make("option", { value }, label)));
}

function buildFilters() {
  data.statuses.forEach((status, index) => {
    const total = rows.status.reduce((sum, each) => sum + (each === index), 0);
    $("status-filter").append(make("button", { type: "button", class: `status-${status}`, "data-pill": status, "aria-pressed": "true", onclick: () => toggleStatus(status) }, `${status} ${total.toLocaleString("en")}`));
  });
  const reasons = [["", "any"]];
  data.checks.forEach((check) => { const n = countFailed(check); if (n) reasons.push([`check:${check.name}`, `${checkLabel(check)} (${n})`]); });
  const errors = new Map();
  rows.error.forEach((index) => { if (index) errors.set(text(index), (errors.get(text(index)) || 0) + 1); });
  errors.forEach((n, name) => reasons.push([`error:${name}`, `${name} (${n})`]));
  const fallbacks = rows.fallback.filter((index) => index).length;
  if (fallbacks) reasons.push(["fallback", `made by another model (${fallbacks})`]);
  if (rows.status.includes(data.statuses.indexOf("skipped"))) reasons.push(["status:skipped", "source was deleted"]);
  options($("reason-filter"), reasons);
  options($("shard-filter"), [["", "all"], ...[...new Set(rows.shard)].map((index) => [text(index), text(index)])]);
  options($("range-metric"), [["", "any score"], ...data.metrics.map((metric) => [metric.name, metric.label])]);
  $("reason-filter").addEventListener("change", (event) => { state.reason = event.target.value; refresh(); });
  $("shard-filter").addEventListener("change", (event) => { state.shard = event.target.value; refresh(); });
  const range = () => { [state.metric, state.low, state.high] = [$("range-metric").value, numberOrNull($("range-low").value), numberOrNull($("range-high").value)]; refresh(); };
  for (const id of ["range-metric", "range-low", "range-high"]) $(id).addEventListener("input", range);
  let timer = 0;
  $("text-filter").addEventListener("input", (event) => {
    clearTimeout(timer);
    timer = setTimeout(() => { state.words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean); refresh(); }, 80);
  });
  $("clear-filters").addEventListener("click", () => setFilters({}));
  for (const metric of data.metrics) {
    const box = make("input", { type: "checkbox", checked: state.columns.includes(metric.name) });
    box.addEventListener("change", () => {
      state.columns = data.metrics.map((m) => m.name).filter((name) => (name === metric.name ? box.checked : state.columns.includes(name)));
      drawHead();
      drawRows();
    });
    $("column-choice").append(make("label", {}, box, metric.label));
  }
}

function pressPills() {
  for (const pill of document.querySelectorAll("[data-pill]")) pill.setAttribute("aria-pressed", String(state.statuses.has(pill.dataset.pill)));
}

/** The first click on a pill shows that status alone; further clicks add and remove; none means all. */
function toggleStatus(status) {
  if (state.statuses.size === data.statuses.length) state.statuses = new Set([status]);
  else if (!state.statuses.delete(status)) state.statuses.add(status);
  if (!state.statuses.size) state.statuses = new Set(data.statuses);
  pressPills();
  refresh();
}

/** These filters and no others, in the controls too. */
function setFilters(filters) {
  Object.assign(state, unfiltered(), filters);
  const { reason, shard, words, metric, low, high } = state;
  const select = $("reason-filter");
  if (![...select.options].some((option) => option.value === reason)) select.append(make("option", { value: reason }, reason.slice(reason.indexOf(":") + 1)));
  const values = { "reason-filter": reason, "shard-filter": shard, "text-filter": words.join(" "), "range-metric": metric, "range-low": low ?? "", "range-high": high ?? "" };
  for (const [id, value] of Object.entries(values)) $(id).value = value;
  pressPills();
  refresh();
}

function showInTable(filters) {
  setFilters(filters);
  $("images").scrollIntoView();
  $("table-scroll").focus({ preventScroll: true });
}

function buildLinks() {
  for (const button of document.querySelectorAll("button[data-reason]")) {
    button.addEventListener("click", () => showInTable({ reason: button.dataset.reason }));
  }
  for (const tile of document.querySelectorAll(".tile[data-status]")) {
    tile.addEventListener("click", () => showInTable({ statuses: new Set([tile.dataset.status]) }));
  }
  for (const bar of document.querySelectorAll(".bar[data-metric]")) {
    const { metric, low, high } = bar.dataset;
    bar.addEventListener("click", () => showInTable({ metric, low: numberOrNull(low), high: numberOrNull(high) }));
  }
}
