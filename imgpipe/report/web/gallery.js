// What failed, and the worst images of every check, one tab each.
let galleryTab = "";
let showTab = () => {};

function galleryTabs() {
  const tabs = data.checks
    .filter((check) => data.worst[check.name])
    .map((check) => ({
      key: check.name,
      label: metricByName.get(check.metric) ? metricByName.get(check.metric).label + (check.upper ? " ↑" : " ↓") : check.name,
      hint: checkLabel(check),
      failures: countFailed(check),
      members: data.worst[check.name],
      check,
    }));
  tabs.sort((a, b) => b.failures - a.failures);
  const withThumbs = Object.keys(data.thumbs).map(Number);
  const byStatus = (name) => withThumbs.filter((row) => statusOf(row) === name).slice(0, 48);
  const withStatus = (name) => rows.status.filter((index) => data.statuses[index] === name).length;
  const errors = [];
  for (let row = 0; row < count && errors.length < 48; row++) if (statusOf(row) === "error") errors.push(row);
  const ranked = new Set(tabs.flatMap((tab) => tab.members));
  const good = byStatus("ok").filter((row) => !ranked.has(row)).slice(0, 24);
  return [
    { key: "rejected", label: "Rejected", hint: "Rejected images", failures: withStatus("rejected"), members: byStatus("rejected") },
    { key: "error", label: "Errors", hint: "Images that could not be finished", failures: withStatus("error"), members: errors },
    ...tabs,
    { key: "ok", label: "Good ones", hint: "A sample of images without a fault", members: good.length ? good : byStatus("ok").slice(0, 24) },
  ].filter((tab) => tab.members.length);
}

function countFailed(check) {
  const index = data.checks.indexOf(check);
  let failures = 0;
  for (let row = 0; row < count; row++) if (failedOf(row).includes(index)) failures++;
  return failures;
}

function card(row, check) {
  const line = make("div", { class: "line" }, tagFor(row));
  if (check) {
    const metric = metricByName.get(check.metric);
    const limit = data.limits[rows.limits[row]][check.name];
    line.append(make("span", {}, `${shown(metric, rows.values[check.metric][row])} ${metric.unit}`));
    if (limit !== undefined) line.append(make("small", {}, `${check.upper ? "at most" : "at least"} ${limit}`));
  } else if (rows.values.psnr_y && rows.values.psnr_y[row] !== null) {
    line.append(make("span", {}, `${shown(metricByName.get("psnr_y"), rows.values.psnr_y[row])} dB`));
  }
  const name = make("button", { type: "button", class: "name", onclick: () => openDetail(row) }, named(row));
  const why = text(rows.why[row]);
  return make("article", { class: "card" }, viewer(row, 260), make("div", { class: "body" }, name, line, why ? make("p", { class: "why", title: why }, why) : null));
}

function buildGallery() {
  const tabs = galleryTabs();
  const bar = $("gallery-tabs");
  const panel = $("gallery-panel");
  if (!tabs.length) {
    panel.append(make("p", {}, "Nothing to show: no image was scored and none failed."));
    return;
  }
  const select = (index, focus) => {
    [...bar.children].forEach((button, i) => {
      button.setAttribute("aria-selected", String(i === index));
      button.tabIndex = i === index ? 0 : -1;
    });
    if (focus) bar.children[index].focus();
    galleryTab = index ? tabs[index].key : "";
    panel.setAttribute("aria-labelledby", `gallery-tab-${index}`);
    const cards = make("div", { class: "cards" });
    panel.replaceChildren(make("p", { class: "hint" }, tabs[index].check ? `${tabs[index].hint}: the ${tabs[index].members.length} worst, worst first; ${plural(tabs[index].failures, "image")} failed it.` : `${tabs[index].hint}.`), cards);
    for (const row of tabs[index].members) cards.append(card(row, tabs[index].check));
  };
  tabs.forEach((tab, index) => {
    const button = make("button", { type: "button", role: "tab", id: `gallery-tab-${index}`, "aria-controls": "gallery-panel", title: tab.hint, onclick: () => { select(index, false); writeAddress(); } }, tab.label);
    if (tab.failures) button.append(make("small", {}, tab.failures.toLocaleString("en")));
    bar.append(button);
  });
  bar.addEventListener("keydown", (event) => {
    const now = [...bar.children].indexOf(document.activeElement);
    const next = { ArrowRight: now + 1, ArrowLeft: now - 1, Home: 0, End: tabs.length - 1 }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    select((next + tabs.length) % tabs.length, true);
    writeAddress();
  });
  showTab = (key) => select(Math.max(0, tabs.findIndex((tab) => tab.key === key)), false);
}
