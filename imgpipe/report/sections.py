"""The parts of the page that need no script, as HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from imgpipe.names import counted
from imgpipe.records import Status
from imgpipe.report.drift import is_quiet
from imgpipe.report.frame import PageContent, picture_stages
from imgpipe.report.histogram import build_histogram, histogram_svg, short_number
from imgpipe.report.metrics import describe
from imgpipe.report.payload import count_texts, counts_by_status
from imgpipe.report.trend import metric_trend_svg, shard_table, status_trend_svg

#: Scores that are drawn per shard.
_TRENDS = ("psnr_y", "ssim_y", "worst_window", "color_shift_255", "detail_ratio", "edge_pixel_loss")
_HEADLINE = ("psnr_y", "ssim_y", "color_shift_255", "seconds_total")
_LISTED_PROBLEMS = 20
_MEANING = {
    Status.OK: "passed every check that rejects",
    Status.REJECTED: "finished, but a check says it was harmed",
    Status.ERROR: "could not be finished",
    Status.SKIPPED: "the source is gone",
}


def header(content: PageContent) -> str:
    """Title, counts by status, and the headline scores."""
    frame, counts = content.frame, counts_by_status(content.frame)
    total = len(frame)
    shards = frame["shard"].nunique()
    tiles = "".join(_status_tile(status, counts[status.value], total) for status in Status)
    scores = "".join(_headline(content, name) for name in _HEADLINE if name in frame)
    created = str(content.facts["created"])
    sums = " + ".join(f"{counts[status.value]} {status.value}" for status in Status)
    return (
        f'<p class="kicker">Dataset report</p><h1>{escape(content.dataset)}</h1>'
        f'<p class="lead">{counted(total, "image")} in {counted(shards, "shard")}, '
        f'<time datetime="{escape(created, quote=True)}">{_when(created)}</time></p>'
        f'<svg class="strip" viewBox="0 0 1 1" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(sums, quote=True)}">{_strip(counts, total)}</svg>'
        f'<div class="tiles">{tiles}{scores}</div>'
    )


def models(content: PageContent) -> str:
    """Which models made the pictures, and where another one than configured was used."""
    used = count_texts(
        "\n".join((asset, m.name, m.backend, m.precision, m.device, m.sha256[:12], m.fallback_reason))
        for line in content.lines
        for asset, row in picture_stages(line).items()
        if (m := row.model) is not None
    )
    rows = []
    for text, count in sorted(used):
        asset, name, backend, precision, device, digest, reason = text.split("\n", 6)
        fell_back = f'<span class="tag warn">fallback</span> {escape(reason)}' if reason else ""
        rows.append(
            f"<tr><th scope=row>{escape(asset.replace('_', ' '))}</th>"
            f"<td><b>{escape(name)}</b> {fell_back}</td>"
            f"<td>{escape(backend)}</td><td>{escape(' '.join(filter(None, (precision, device))))}</td>"
            f"<td><code>{escape(digest)}</code></td><td class=num>{count:,}</td></tr>"
        )
    if not rows:
        return "<p>No picture was made by a model.</p>"
    head = "<th>Stage<th>Model<th>Backend<th>Runs as<th>sha256<th class=num>Images"
    return _fallback_banner(content) + _table(head, rows)


def drift(content: PageContent) -> str:
    """Differences from the previous report."""
    found = content.facts.get("drift")
    if found is None:
        return "<p>This is the first report of this data set; the next one will be compared with it.</p>"
    since = f"<p>Compared with the report of {_when(content.facts['previous_created'])}: "
    images = found["images"]
    since += f"{counted(images['common'], 'image')} in both, {images['added']:,} new, "
    since += f"{images['removed']:,} gone.</p>"
    if is_quiet(found):
        return since + "<p>No status and no score is different.</p>"
    return since + _transitions(found["transitions"]) + _metric_changes(found["metrics"])


def distributions(content: PageContent) -> str:
    """A histogram per score, with the thresholds that were in force."""
    figures = [_figure(content, name) for name in (*content.metrics, "seconds_total")]
    return f'<div class="charts">{"".join(figures)}</div>' if any(figures) else "<p>Nothing was measured.</p>"


def shards(content: PageContent) -> str:
    """Statuses and the main scores per shard."""
    if not len(content.frame):
        return "<p>There is no shard yet.</p>"
    names = [name for name in _TRENDS if name in content.frame]
    table = shard_table(content.frame, names)
    figures = [_captioned("<b>Status</b>", status_trend_svg(table))]
    for name in names:
        info = describe(name)
        svg = metric_trend_svg(table, info, _thresholds(content, name))
        if svg is not None:
            figures.append(_captioned(f"<b>{escape(info.label)}</b> {_unit(info.unit)}", svg))
    return f'<div class="charts">{"".join(figures)}</div>'


def about(content: PageContent) -> str:
    """Meaning of the scores, and problems met while the report was made."""
    rows = [
        f"<tr><th scope=row>{escape(describe(name).label)}</th><td><code>{escape(name)}</code></td>"
        f"<td>{escape(describe(name).meaning)}</td></tr>"
        for name in (*content.metrics, "seconds_total")
    ]
    return _problem_list(content.problems) + _table("<th>Score<th>Name<th>Meaning", rows)


def _status_tile(status: Status, count: int, total: int) -> str:
    share = f"{100 * count / total:.1f} %" if total else "–"
    return (
        f'<button type="button" class="tile status-{status.value}" data-status="{status.value}" '
        f'title="{escape(_MEANING[status], quote=True)}"><span>{status.value}</span>'
        f"<b>{count:,}</b><small>{share}</small></button>"
    )


def _strip(counts: Mapping[str, int], total: int) -> str:
    parts, x = [], 0.0
    for status in Status:
        share = counts[status.value] / total if total else 0.0
        if share:
            place = f'x="{x:.6f}" y="0" width="{share:.6f}" height="1"'
            parts.append(f'<rect class="fill-{status.value}" {place}/>')
        x += share
    return "".join(parts)


def _headline(content: PageContent, name: str) -> str:
    values = content.frame[name].to_numpy(np.float64)
    values = values[np.isfinite(values)]
    if not len(values):
        return ""
    info = describe(name)
    middle, low, high = (float(np.quantile(values, share)) for share in (0.5, 0.05, 0.95))
    tail, said = (high, "95 % below") if info.sign < 0 else (low, "5 % below")
    return (
        f'<div class="tile"><span>{escape(info.label)}</span><b>{short_number(middle, info.digits)}'
        f"<i> {escape(info.unit)}</i></b>"
        f"<small>median; {said} {short_number(tail, info.digits)}</small></div>"
    )


def _fallback_banner(content: PageContent) -> str:
    said = count_texts(text for text in content.frame["fallbacks"] if text)
    if not said:
        return '<p class="note good">Every picture was made by the configured models.</p>'
    return _warning(
        "Not every picture was made by the configured models.",
        [f"<b>{counted(count, 'image')}</b>: {escape(text)}" for text, count in said],
        '<button type="button" data-reason="fallback">Show these images</button>',
    )


def _thresholds(content: PageContent, metric: str) -> list[float]:
    mine = content.checks[content.checks["metric"] == metric]["threshold"]
    return sorted({float(value) for value in mine})


def _figure(content: PageContent, name: str) -> str:
    info, values = describe(name), content.frame[name].to_numpy(np.float64)
    thresholds = _thresholds(content, name)
    histogram = build_histogram(values, content.frame["status"].tolist(), thresholds)
    if histogram is None:
        return ""
    svg = histogram_svg(histogram, info, thresholds)
    finite = values[np.isfinite(values)]
    mine = content.checks[content.checks["metric"] == name]
    failed = mine[~mine["passed"].astype(bool)]["image_id"].nunique()
    facts = f"median {short_number(float(np.median(finite)), info.digits)}"
    if thresholds:
        facts += f", {failed:,} of {histogram.total:,} outside"
    if histogram.infinite:
        facts += f", {histogram.infinite:,} infinite not drawn"
    return _captioned(f"<b>{escape(info.label)}</b> {_unit(info.unit)}<span>{facts}</span>", svg)


def _transitions(transitions: Sequence[dict[str, Any]]) -> str:
    if not transitions:
        return "<p>No image changed its status.</p>"
    items = []
    for change in transitions:
        shown = ", ".join(escape(source) for source in change["sources"][:5])
        more = " …" if change["count"] > 5 else ""
        items.append(
            f'<li><b class=num>{change["count"]:,}</b> <span class="tag status-{escape(change["from"])}">'
            f'{escape(change["from"])}</span> → <span class="tag status-{escape(change["to"])}">'
            f"{escape(change['to'])}</span> <small>{shown}{more}</small></li>"
        )
    return f'<ul class="transitions">{"".join(items)}</ul>'


def _metric_changes(changes: Sequence[dict[str, Any]]) -> str:
    rows = []
    for change in changes:
        if not change["changed_share"]:
            continue
        info = describe(change["metric"])
        worse = info.sign * change["change"] < 0
        effect = "every image alike" if change["effect"] is None else f"{change['effect']:+.2f}"
        tone, digits = ("worse" if worse else "better" if info.sign else ""), info.digits + 1
        rows.append(
            f"<tr><th scope=row>{escape(info.label)}</th>"
            f"<td class=num>{short_number(change['before'], digits)}</td>"
            f"<td class=num>{short_number(change['after'], digits)}</td>"
            f'<td class="num {tone}">{change["change"]:+.{digits}f}</td>'
            f"<td class=num>{effect}</td><td class=num>{100 * change['changed_share']:.0f} %</td>"
            f"<td class=num>{change['largest']:+.{digits}f}</td>"
            f"<td>{escape(change['largest_source'])}</td></tr>"
        )
    if not rows:
        return "<p>No score is different.</p>"
    numbers = ("Mean before", "Mean now", "Change", "Change / spread", "Images changed", "Largest")
    return _table("<th>Score" + "".join(f"<th class=num>{name}" for name in numbers) + "<th>Image", rows)


def _problem_list(problems: Sequence[str]) -> str:
    if not problems:
        return ""
    items = [escape(text) for text in problems[:_LISTED_PROBLEMS]]
    if len(problems) > _LISTED_PROBLEMS:
        items.append(f"… and {len(problems) - _LISTED_PROBLEMS} more")
    return _warning("Not everything could be read while this report was made.", items)


def _table(head: str, rows: Sequence[str]) -> str:
    return (
        f'<div class="scroll"><table class="plain"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _captioned(caption: str, svg: str) -> str:
    return f"<figure><figcaption>{caption}</figcaption>{svg}</figure>"


def _warning(title: str, items: Sequence[str], after: str = "") -> str:
    listed = "".join(f"<li>{item}</li>" for item in items)
    return f'<div class="note warn" role="note"><b>{title}</b><ul>{listed}</ul>{after}</div>'


def _unit(unit: str) -> str:
    return f"<small>{escape(unit)}</small>" if unit else ""


def _when(text: str) -> str:
    """``2026-01-31T09:30:00+00:00`` -> ``2026-01-31 09:30 UTC``."""
    return escape(str(text).replace("T", " ", 1)[:16] + " UTC") if "T" in str(text) else escape(str(text))
