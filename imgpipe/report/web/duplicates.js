// Groups of look-alikes.
function buildDuplicates() {
  const panel = $("duplicates-panel");
  panel.append(make("p", { class: "hint" }, `Compared by a 64-bit difference hash of the source: ${data.hashed.toLocaleString("en")} of ${plural(count, "image")} have been hashed; the others are not covered by this search. Byte-identical sources are found among all.`));
  const groups = [
    ...data.exact.map((members) => ({ title: "same bytes", members })),
    ...data.near.map((members) => ({ title: "look alike", members })),
  ];
  if (!groups.length) {
    panel.append(make("p", {}, "No duplicates were found."));
    return;
  }
  const list = make("div", { class: "groups" });
  const LIMIT = 20;
  const draw = (from, to) => groups.slice(from, to).forEach((group) => {
    const members = make("div", { class: "members" });
    group.members.slice(0, 12).forEach((row) => {
      const thumb = thumbsOf(row).source;
      const shownPicture = thumb ? make("img", { src: thumb, alt: "", loading: "lazy" }) : make("span", { class: "blank" }, "no thumbnail");
      members.append(make("button", { type: "button", onclick: () => openDetail(row) }, shownPicture, named(row)));
    });
    const more = group.members.length > 12 ? ` (12 shown)` : "";
    list.append(make("div", { class: "group" }, make("h3", {}, `${plural(group.members.length, "image")}, ${group.title}${more}`), members));
  });
  draw(0, LIMIT);
  panel.append(list);
  if (groups.length > LIMIT) {
    const more = make("button", { type: "button", onclick: () => { draw(LIMIT, groups.length); more.remove(); } }, `Show ${plural(groups.length - LIMIT, "more group")}`);
    panel.append(more);
  }
}
