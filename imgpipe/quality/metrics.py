"""The registry: what every number means, which way is good, what it sees and what it cannot see.

The order here is the order of columns and of the documentation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Metric:
    """``better``: which way is good; ``target`` means close to 1. ``low``, ``high``: possible values."""

    unit: str
    low: float
    high: float | None
    better: Literal["higher", "lower", "target", "none"]
    meaning: str
    sees: str
    blind_to: str


METRICS: Mapping[str, Metric] = {
    "psnr": Metric(
        "dB",
        0.0,
        None,
        "higher",
        "PSNR of the round trip, RGB",
        "any difference at the source's size, by its energy",
        "where it is; detail below the source's size; ranks nearest-neighbour best",
    ),
    "ssim": Metric(
        "",
        -1.0,
        1.0,
        "higher",
        "SSIM of the round trip, mean over R, G, B (Wang et al. 2004)",
        "lost or changed local structure",
        "constant colour shifts; seams; flat areas",
    ),
    "psnr_y": Metric(
        "dB",
        0.0,
        None,
        "higher",
        "PSNR of the round trip's luma (BT.601)",
        "gross damage",
        "chroma; where it is; small patches",
    ),
    "ssim_y": Metric(
        "",
        -1.0,
        1.0,
        "higher",
        "SSIM of the round trip's luma",
        "gross damage to structure",
        "chroma; constant shifts; seams",
    ),
    "ssim_y_half": Metric(
        "",
        -1.0,
        1.0,
        "higher",
        "SSIM of luma at half the source's size",
        "blur, displacement, ringing, without the noise and JPEG traces of the finest scale",
        "chroma; seams; fine detail",
    ),
    "worst_window": Metric(
        "",
        -1.0,
        1.0,
        "higher",
        "lowest mean of the half-size SSIM map over any 16 px window there (32 px of the source)",
        "an erased, blurred, black or foreign patch",
        "patches in flat areas that stay flat",
    ),
    "ms_ssim": Metric(
        "",
        0.0,
        1.0,
        "higher",
        "multi-scale SSIM of the round trip's luma (Wang et al. 2003); for information",
        "lost structure at any of five scales",
        "chroma; constant shifts; seams; pictures below 176 px",
    ),
    "gmsd": Metric(
        "",
        0.0,
        1.0,
        "lower",
        "deviation of the gradients' similarity of the round trip's luma (Xue et al. 2014); for information",
        "edges that changed in places",
        "chroma; constant shifts; damage that is the same everywhere",
    ),
    "color_shift_255": Metric(
        "1/255",
        0.0,
        255.0,
        "lower",
        "largest channel's abs(mean difference)",
        "a global colour cast, gamma, a wrong profile, swapped channels",
        "casts that cancel over the picture",
    ),
    "local_color_shift_255": Metric(
        "1/255",
        0.0,
        255.0,
        "lower",
        "largest abs(difference) after a low-pass of sigma 12 px, any channel",
        "a patch or tile of another colour or brightness",
        "changes smaller than about 10 px",
    ),
    "subpixel_shift_px": Metric(
        "source px",
        0.0,
        None,
        "lower",
        "length of the displacement by least squares",
        "a resize with wrong pixel centres, a shifted tile row",
        "displacements of small parts; exact only below about 1 px",
    ),
    "detail_ratio": Metric(
        "",
        0.0,
        None,
        "target",
        "RMS Laplacian of the round trip / of the source",
        "blur (below 1), sharpening and ringing (above 1)",
        "detail invented below the source's size",
    ),
    "occupancy_ratio": Metric(
        "",
        0.0,
        None,
        "higher",
        "used histogram levels of the result / of the source",
        "posterisation, a palette, a lost bit depth",
        "banding that dithering hides",
    ),
    "grid_ratio": Metric(
        "",
        0.0,
        None,
        "lower",
        "steps on the result's 8 px grid / beside it, beyond the source's own",
        "strong JPEG blocks, nearest-neighbour enlargement by 4 or more",
        "JPEG of quality 75 and better; other grids",
    ),
    "lines_coherence": Metric(
        "",
        0.0,
        1.0,
        "lower",
        "sign coherence of the residual along a tile border, beyond control rows",
        "seams of 2 levels and more along the recorded tile grid",
        "seams within 76 px of the border; lines off the grid, unless full length; cuts full of edges",
    ),
    "lines_step": Metric(
        "1/255",
        0.0,
        255.0,
        "lower",
        "step of the residual across a tile border, beyond control rows",
        "tiles of different brightness",
        "as lines_coherence; not tested without a tile grid",
    ),
    "edge_pixel_loss": Metric(
        "",
        0.0,
        1.0,
        "lower",
        "share of strong source edges lost, in the picture or at the matte's border (the worse)",
        "erased lines, blank patches; a matte that cuts into the subject",
        "weak edges (below 16/255 per px)",
    ),
    "matte_edge_loss": Metric(
        "",
        0.0,
        1.0,
        "lower",
        "the matte's part of edge_pixel_loss",
        "eroded hair, cut-off limbs with an outline",
        "subjects without outlines; parts lost more than 6 px deep",
    ),
    "matte_foreground": Metric(
        "",
        0.0,
        1.0,
        "none",
        "share of pixels with alpha >= 0.5",
        "no subject; nothing removed",
        "which subject",
    ),
    "matte_components": Metric(
        "",
        0.0,
        None,
        "lower",
        "objects of 64 px or more",
        "specks, shredded masks",
        "specks joined to the subject",
    ),
    "matte_soft_band_px": Metric(
        "px",
        0.0,
        None,
        "lower",
        "mean width of the transition",
        "blurred masks",
        "a soft edge that should be soft",
    ),
    "matte_touch_top": Metric(
        "", 0.0, 1.0, "lower", "share of the top border covered", "a truncated subject", "framing"
    ),
    "matte_touch_right": Metric(
        "", 0.0, 1.0, "lower", "share of the right border covered", "a truncated subject", "framing"
    ),
    "matte_touch_bottom": Metric(
        "", 0.0, 1.0, "lower", "share of the bottom border covered", "a truncated subject", "framing"
    ),
    "matte_touch_left": Metric(
        "", 0.0, 1.0, "lower", "share of the left border covered", "a truncated subject", "framing"
    ),
    "matte_holes": Metric(
        "",
        0.0,
        None,
        "none",
        "background regions of 64 px or more inside the subject",
        "punched-out parts",
        "true gaps",
    ),
}


def worse(name: str, first: float, second: float) -> float:
    """The worse of two values of one metric: farther from 1 in ratio where 1 is the target."""
    better = METRICS[name].better
    if better == "higher":
        return min(first, second)
    if better == "target":
        return first if _distance(first) >= _distance(second) else second
    return max(first, second)


def _distance(ratio: float) -> float:
    return max(ratio, 1.0 / ratio) if ratio > 0 else float("inf")
