"""What the report calls a score, in which unit, and which way is better.

A score that is not listed here is shown under its own name; nothing is left out because it is new.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MetricInfo:
    """How one score is shown. ``better``: +1 higher, -1 lower, 0 neither (a value between two bounds)."""

    label: str
    unit: str = ""
    digits: int = 3
    better: int = 0
    meaning: str = ""


METRICS: Mapping[str, MetricInfo] = {
    "psnr": MetricInfo("PSNR, RGB", "dB", 2, 1, "Round trip against the source, all channels."),
    "psnr_y": MetricInfo("PSNR, luma", "dB", 2, 1, "Round trip against the source, luma only."),
    "ssim": MetricInfo("SSIM, RGB", "", 4, 1, "Structure kept in the round trip, mean over the channels."),
    "ssim_y": MetricInfo("SSIM, luma", "", 4, 1, "Structure kept in the round trip (Wang 2004), luma."),
    "ssim_y_half": MetricInfo("SSIM, luma, half size", "", 4, 1, "As before, at half the source's size."),
    "worst_window": MetricInfo("Worst window", "", 4, 1, "Lowest half-size SSIM of any 16 px window."),
    "color_shift_255": MetricInfo("Colour shift", "of 255", 2, -1, "Largest mean change of a channel."),
    "local_color_shift_255": MetricInfo(
        "Local colour shift", "of 255", 2, -1, "Largest change of colour after smoothing."
    ),
    "subpixel_shift_px": MetricInfo("Shift", "source px", 3, -1, "Displacement by least squares."),
    "detail_ratio": MetricInfo(
        "Detail ratio", "", 3, 0, "Laplacian energy: below 1 blurred, above 1 sharper."
    ),
    "occupancy_ratio": MetricInfo("Tone occupancy", "", 3, 1, "Share of the source's tones still in use."),
    "grid_ratio": MetricInfo("8 px grid", "", 3, -1, "Steps on an 8 px grid over steps elsewhere."),
    "lines_coherence": MetricInfo("Seam coherence", "", 3, -1, "How consistently a seam runs along a line."),
    "lines_step": MetricInfo("Seam step", "", 3, -1, "Brightness step across a tile border."),
    "edge_pixel_loss": MetricInfo("Edge pixel loss", "", 4, -1, "Strong edges that lie outside the matte."),
    "matte_edge_loss": MetricInfo("Edge loss, matte", "", 4, -1, "The matte's part of edge pixel loss."),
    "matte_foreground": MetricInfo("Foreground share", "", 3, 0, "Share of the picture that is subject."),
    "matte_components": MetricInfo("Matte pieces", "", 0, -1, "Separate pieces of 64 px or more."),
    "matte_soft_band_px": MetricInfo("Soft band", "px", 2, -1, "Mean width of the matte's border."),
    "matte_touch_top": MetricInfo("Touches top", "", 3, -1, "Share of the top border covered."),
    "matte_touch_right": MetricInfo("Touches right", "", 3, -1, "Share of the right border covered."),
    "matte_touch_bottom": MetricInfo("Touches bottom", "", 3, -1, "Share of the bottom border covered."),
    "matte_touch_left": MetricInfo("Touches left", "", 3, -1, "Share of the left border covered."),
    "matte_holes": MetricInfo("Matte holes", "", 0, -1, "Holes of the matte."),
    "gmsd": MetricInfo("GMSD", "", 4, -1, "Gradient magnitude similarity deviation; for information."),
    "ms_ssim": MetricInfo("MS-SSIM", "", 4, 1, "Multi-scale SSIM; for information."),
    "seconds_total": MetricInfo("Time, all stages", "s", 2, -1, "Read, decode, compute, encode and write."),
}

#: Checks of the matte are named without the prefix that its scores have.
_MATTE_CHECKS = {"foreground", "components", "soft_band_px"}
_BOUND = re.compile(r"_(min|max)(_[a-z]+)?$")


def metric_of(check: str) -> str:
    """The score that a check looks at: ``psnr_y_min_db`` -> ``psnr_y``."""
    name = _BOUND.sub("", check)
    return f"matte_{name}" if name in _MATTE_CHECKS else name


def is_upper_bound(check: str) -> bool:
    """True where the check's threshold must not be exceeded, False where it must be reached."""
    found = _BOUND.search(check)
    return found is not None and found.group(1) == "max"


def describe(metric: str) -> MetricInfo:
    """The entry of :data:`METRICS`, or one that shows the name itself."""
    return METRICS.get(metric) or MetricInfo(metric.replace("_", " "))


def in_reading_order(names: Iterable[str]) -> list[str]:
    """Known scores as :data:`METRICS` lists them, then the others by name."""
    rank = {name: index for index, name in enumerate(METRICS)}
    return sorted(set(names), key=lambda name: (rank.get(name, len(rank)), name))
