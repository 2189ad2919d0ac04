// The filters and the gallery's tab in the page's address, as in #state=rejected&reason=check:ssim_min. A filtered
// page can be sent to somebody, and the back button takes a change back.
const numberOrNull = (given) => (given === undefined || given === null || given === "" || !Number.isFinite(Number(given)) ? null : Number(given));

let [reading, typed] = [false, false];

function writeAddress() {
  const all = state.statuses.size === data.statuses.length;
  const parts = {
    state: all ? "" : [...state.statuses].join(","), reason: state.reason, shard: state.shard, text: state.words.join(" "),
    score: state.metric, low: state.low ?? "", high: state.high ?? "", tab: galleryTab,
  };
  const address = new URLSearchParams(Object.entries(parts).filter(([, value]) => value !== "")).toString();
  if (address === new URLSearchParams(filtersInAddress()).toString()) return;
  const typing = document.activeElement?.tagName === "INPUT";
  history[reading || (typing && typed) ? "replaceState" : "pushState"](null, "", `#${address}`);
  typed = typing;
}

/** What the address says, "" where it names a section of the page. */
function filtersInAddress() {
  const said = location.hash.slice(1);
  return said.includes("=") ? said : "";
}

function readAddress() {
  reading = true;
  const given = new URLSearchParams(filtersInAddress());
  const [statuses, metric] = [(given.get("state") || "").split(","), given.get("score") || ""];
  const known = data.statuses.filter((status) => statuses.includes(status));
  showTab(given.get("tab"));
  setFilters({
    statuses: new Set(known.length ? known : data.statuses), reason: given.get("reason") || "", shard: given.get("shard") || "",
    words: (given.get("text") || "").toLowerCase().split(/\s+/).filter(Boolean),
    metric: metricByName.has(metric) ? metric : "", low: numberOrNull(given.get("low")), high: numberOrNull(given.get("high")),
  });
  reading = false;
}
window.addEventListener("hashchange", () => { if (location.hash.length < 2 || filtersInAddress()) readAddress(); });
