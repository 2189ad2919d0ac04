"""The state of a data set as one image: counts, shards, two distributions, the worst images.

A self-contained SVG, so that it can be shown wherever an image can.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING

from imgpipe.assets.links import data_address
from imgpipe.errors import PER_IMAGE_ERRORS
from imgpipe.names import counted
from imgpipe.pictures.reader import read_own_file
from imgpipe.records import Status
from imgpipe.settings import LimitSettings
from imgpipe.storage import keys
from imgpipe.storage.store import ImageStore

if TYPE_CHECKING:
    import pandas as pd

_WIDTH, _MARGIN = 960, 16
_COLOURS = {
    Status.OK: "#3a9d5d",
    Status.REJECTED: "#e0a030",
    Status.ERROR: "#cc3b3b",
    Status.SKIPPED: "#a5acb5",
}
#: Shards shown, the newest.
_SHARDS = 60
#: Images in the strip of the worst, and the longest side of their pictures, px.
_WORST, _SIDE = 6, 104
#: Top of the histograms, their height, and top of the strip's pictures, px.
_CHARTS_Y, _CHARTS_HEIGHT, _STRIP_Y = 186, 214, 436
_SCORES = ("psnr_y", "ssim_y")
_STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#26323e}.title{font-size:16px;font-weight:600}"
    ".axis{stroke:#8a939c}.grid{stroke:#dfe4e8}.tick{font-size:11px;fill:#5c6873}"
    ".threshold{stroke:#cc3b3b;stroke-dasharray:4 3}.threshold-text{font-size:11px;fill:#cc3b3b}"
    ".hit{fill:none}"
    + "".join(f".fill-{status.value}{{fill:{colour}}}" for status, colour in _COLOURS.items())
)


def overview_svg(frame: pd.DataFrame, dataset: str, output: ImageStore) -> str:
    """The picture for a report's frame: one row per image, as ``images.parquet`` holds it."""
    strip = list(_worst_strip(frame, dataset, output))
    height = _STRIP_Y + _SIDE + 50 if strip else _CHARTS_Y + _CHARTS_HEIGHT + 8
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" '
        f'height="{height}"><style>{_STYLE}</style><rect width="100%" height="100%" fill="#fff"/>',
        _text(_MARGIN, 28, f"{dataset}: {counted(len(frame), 'image')}", "title"),
        *_status_bar(frame),
        *_shard_columns(frame),
        *_histograms(frame),
        *strip,
        "</svg>",
    ]
    return "".join(parts)


def as_markdown(svg: str) -> str:
    """The picture as a Markdown image."""
    return f"![overview]({data_address('image/svg+xml', svg.encode())})"


def _status_bar(frame: pd.DataFrame) -> Iterator[str]:
    """All images by status as one bar, with the numbers below."""
    width = _WIDTH - 2 * _MARGIN
    x, label = float(_MARGIN), float(_MARGIN)
    for status in _COLOURS:
        count = int((frame["status"] == status.value).sum())
        share = width * count / max(len(frame), 1)
        yield f'<rect class="fill-{status.value}" x="{x:.1f}" y="40" width="{share:.1f}" height="18"/>'
        yield f'<circle class="fill-{status.value}" cx="{label + 5:.0f}" cy="71" r="5"/>'
        yield _text(label + 14, 75, f"{count:,} {status.value}")
        x, label = x + share, label + 130


def _shard_columns(frame: pd.DataFrame) -> Iterator[str]:
    """One column per shard, its images by status as shares."""
    from imgpipe.report.histogram import stacked_bars

    shards = sorted(frame["shard"].astype(str).unique(), key=keys.shard_index)[-_SHARDS:]
    yield _text(_MARGIN, 104, f"shards {shards[0]} to {shards[-1]}" if shards else "no shards yet")
    step = min(40.0, (_WIDTH - 2 * _MARGIN) / max(len(shards), 1))
    counts = frame.groupby(["shard", "status"]).size()
    for index, shard in enumerate(shards):
        mine = counts.loc[shard] * 40 / counts.loc[shard].sum()
        heights = {status: float(mine.get(status.value, 0)) for status in _COLOURS}
        yield from stacked_bars(_MARGIN + index * step, max(step - 2, 1), 152, heights)


def _histograms(frame: pd.DataFrame) -> Iterator[str]:
    import numpy as np

    from imgpipe.report.histogram import build_histogram, histogram_svg
    from imgpipe.report.metrics import describe

    width = (_WIDTH - 3 * _MARGIN) / 2
    for place, name in enumerate(_SCORES):
        left = _MARGIN + place * (width + _MARGIN)
        info = describe(name)
        yield _text(left, 178, info.label, "title")
        if name not in frame:
            yield _text(left, 200, "not measured")
            continue
        limits = _thresholds(frame, name)
        found = build_histogram(frame[name].to_numpy(np.float64), list(frame["status"].astype(str)), limits)
        if found is None:
            yield _text(left, 200, "no finite value")
            continue
        drawn = histogram_svg(found, info, limits)
        yield drawn.replace(
            "<svg ", f'<svg x="{left:.0f}" y="{_CHARTS_Y}" width="{width:.0f}" height="{_CHARTS_HEIGHT}" ', 1
        )


def _thresholds(frame: pd.DataFrame, score: str) -> list[float]:
    """The limits in force for a score, from the verdicts of the images."""
    from imgpipe.report.metrics import metric_of

    found: set[float] = set()
    for text in frame["checks"].dropna().unique():
        found |= {float(each["threshold"]) for each in json.loads(text) if metric_of(each["name"]) == score}
    return sorted(found)


def _worst_strip(frame: pd.DataFrame, dataset: str, output: ImageStore) -> Iterator[str]:
    """Source and result of the images to look at first, from the report's own thumbnails."""
    import pandas as pd

    from imgpipe.report.selection import worst_first

    if not {"thumb_source", "thumb_result", "psnr_y"} <= set(frame.columns):
        return
    to_look_at = frame["psnr_y"].notna() | (frame["status"] == Status.REJECTED.value)
    shown = frame[to_look_at & frame["thumb_source"].notna()]
    if not len(shown):
        return
    scores = shown["psnr_y"].fillna(math.inf)  # Rejected before it was scored.
    worst = shown.iloc[worst_first(list(shown["status"]), list(scores))[:_WORST]]
    yield _text(_MARGIN, _STRIP_Y - 10, "the worst images, source and result", "title")
    step = (_WIDTH - 2 * _MARGIN) / _WORST
    for index, (_, row) in enumerate(worst.iterrows()):
        left = _MARGIN + index * step
        for half, kind in enumerate(("thumb_source", "thumb_result")):
            if pd.isna(row[kind]):
                continue
            yield _thumbnail(
                output, keys.report_key(dataset, str(row[kind])), left + half * step / 2, step / 2 - 3
            )
        score = "not scored" if pd.isna(row["psnr_y"]) else f"{row['psnr_y']:.1f} dB"
        yield _text(left, _STRIP_Y + _SIDE + 18, f"{score}, {row['status']}", "tick")
        name = _text(0, 12, str(row["source_key"]).rpartition("/")[2], "tick")
        place = f'x="{left:.0f}" y="{_STRIP_Y + _SIDE + 24}" width="{step - 6:.0f}" height="18"'
        yield f"<svg {place}>{name}</svg>"  # Cuts a name that is too long.


def _thumbnail(output: ImageStore, key: str, x: float, width: float) -> str:
    """A report's thumbnail, smaller; a grey box with the reason as its title where it cannot be read."""
    from imgpipe.report.thumbnails import whole_as_webp

    try:
        data = whole_as_webp(read_own_file(output, key, LimitSettings()), _SIDE)
    except PER_IMAGE_ERRORS as exc:
        box = f'<rect x="{x:.1f}" y="{_STRIP_Y}" width="{width:.1f}" height="{_SIDE}" fill="#e4e7ea"/>'
        return f"<g><title>{escape(f'{type(exc).__name__}: {exc}')}</title>{box}</g>"
    return (
        f'<image x="{x:.1f}" y="{_STRIP_Y}" width="{width:.1f}" height="{_SIDE}" '
        f'preserveAspectRatio="xMidYMid meet" href="{data_address("image/webp", data)}"/>'
    )


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" class="{kind}">{escape(text)}</text>'
