"""The rows of the metric table.

The limits of profile ``classical`` (Lanczos, bicubic) were found on drawings and confirmed on real frames;
those of ``realesrgan`` on outputs of real networks, which change more while being good. PSNR's are low on
purpose: a faithful enlargement of hard black-and-white line art reads 22 dB. docs/quality.md has the tables
of what was measured on good and on damaged pictures.
"""

from __future__ import annotations

from collections.abc import Mapping

from imgpipe.metrics.metric import Metric, at_least, at_most

#: Check, as Dagster shows it -> what it means that it passes.
CHECKS: Mapping[str, str] = {
    "psnr": "Luma PSNR of the round trip of every image is at least its profile's threshold.",
    "ssim": "Luma SSIM of the round trip, at full and half size and in its worst window.",
    "no_lines": "No seams along the tile grid and no other long thin lines that the source has not.",
    "edges_preserved": "The subject's strong edges lie inside its matte.",
    "colors_kept": "Colours are the source's, on the whole and locally.",
    "detail_kept": "No blur, ringing, shift, posterisation or blocking.",
    "matte": "Share of the subject, loose pieces and softness of the matte are plausible.",
}


def _touches(side: str) -> Metric:
    return Metric(
        f"matte_touch_{side}",
        f"Touches {side}",
        f"Share of the {side} border covered",
        better="lower",
        sees="a truncated subject",
        blind_to="framing",
    )


def _agreement(kind: str, label: str, other: str) -> tuple[Metric, Metric]:
    """What matting says of two masks; none where there was no other one. Its own limit is in ``rembg``."""
    return (
        Metric(
            f"matte_{kind}_iou",
            f"{label}, IoU",
            f"IoU of the mask and that of {other}",
            better="higher",
            sees="what one of them takes for the subject and the other does not",
            blind_to="what both get wrong",
        ),
        Metric(
            f"matte_{kind}_differing",
            f"{label}, differing",
            f"Share of the picture where the mask and that of {other} are more than one half apart",
            better="lower",
            sees="as the IoU, by area of the picture",
            blind_to="small subjects; what both get wrong",
            digits=4,
        ),
    )


ROWS: tuple[Metric, ...] = (
    Metric(
        "psnr",
        "PSNR, RGB",
        "PSNR of the round trip, RGB",
        better="higher",
        sees="any difference at the source's size, by its energy",
        blind_to="where it is; detail below the source's size; ranks nearest-neighbour best",
        unit="dB",
        high=None,
        digits=2,
        column=0,
    ),
    Metric(
        "ssim",
        "SSIM, RGB",
        "SSIM of the round trip, mean over R, G, B (Wang et al. 2004)",
        better="higher",
        sees="lost or changed local structure",
        blind_to="constant colour shifts; seams; flat areas",
        low=-1.0,
        digits=4,
    ),
    Metric(
        "profile_loss_255",
        "Profile loss",
        "RMS change of what is shown, where a colour profile was lost or exchanged and the values were not "
        "converted",
        better="lower",
        sees="a lost profile: linear light or P3 shown as sRGB",
        blind_to="profiles that show nearly the same (below 0.5); not measured where none was lost",
        unit="of 255",
        high=255.0,
        digits=2,
        limits=(
            at_most(
                "profile_loss_255_max",
                "colors_kept",
                0.5,
                0.5,
                ".1f",
                "the colour profile was lost, or exchanged without converting the values: what is shown "
                "differs by {} of 255",
                calibrated=False,
            ),
        ),
    ),
    Metric(
        "psnr_y",
        "PSNR, luma",
        "PSNR of the round trip's luma (BT.601)",
        better="higher",
        sees="gross damage",
        blind_to="chroma; where it is; small patches",
        unit="dB",
        high=None,
        digits=2,
        column=0,
        limits=(
            at_least(
                "psnr_y_min_db", "psnr", 20.0, 20.0, ".1f", "brightness differs: PSNR {} dB", highest=100.0
            ),
        ),
    ),
    Metric(
        "ssim_y",
        "SSIM, luma",
        "SSIM of the round trip's luma",
        better="higher",
        sees="gross damage to structure",
        blind_to="chroma; constant shifts; seams",
        low=-1.0,
        digits=4,
        limits=(at_least("ssim_y_min", "ssim", 0.93, 0.88, ".3f", "structure differs: SSIM {}"),),
    ),
    Metric(
        "ssim_y_half",
        "SSIM, luma, half size",
        "SSIM of luma at half the source's size",
        better="higher",
        sees="blur, displacement, ringing, without the noise and JPEG traces of the finest scale",
        blind_to="chroma; seams; fine detail",
        low=-1.0,
        digits=4,
        limits=(
            at_least(
                "ssim_y_half_min", "ssim", 0.985, 0.95, ".3f", "structure differs at half size: SSIM {}"
            ),
        ),
    ),
    Metric(
        "worst_window",
        "Worst window",
        "Lowest mean of the half-size SSIM map over any 16 px window there (32 px of the source)",
        better="higher",
        sees="an erased, blurred, black or foreign patch",
        blind_to="patches in flat areas that stay flat",
        low=-1.0,
        digits=4,
        limits=(
            at_least("worst_window_min", "ssim", 0.93, 0.75, ".3f", "one place is damaged: its SSIM is {}"),
        ),
    ),
    Metric(
        "ms_ssim",
        "MS-SSIM",
        "Multi-scale SSIM of the round trip's luma (Wang et al. 2003); for information",
        better="higher",
        sees="lost structure at any of five scales",
        blind_to="chroma; constant shifts; seams; pictures below 176 px",
        digits=4,
        column=3,
    ),
    Metric(
        "gmsd",
        "GMSD",
        "Deviation of the gradients' similarity of the round trip's luma (Xue et al. 2014); for information",
        better="lower",
        sees="edges that changed in places",
        blind_to="chroma; constant shifts; damage that is the same everywhere",
        digits=4,
        column=2,
    ),
    Metric(
        "color_shift_255",
        "Colour shift",
        "Largest channel's abs(mean difference)",
        better="lower",
        sees="a global colour cast, gamma, a wrong profile, swapped channels",
        blind_to="casts that cancel over the picture",
        unit="of 255",
        high=255.0,
        digits=2,
        limits=(
            at_most("color_shift_255_max", "colors_kept", 2.0, 1.5, ".1f", "colours shifted by {} of 255"),
        ),
    ),
    Metric(
        "local_color_shift_255",
        "Local colour shift",
        "Largest abs(difference) after a low-pass of sigma 12 px, any channel",
        better="lower",
        sees="a patch or tile of another colour or brightness",
        blind_to="changes smaller than about 10 px",
        unit="of 255",
        high=255.0,
        digits=2,
        limits=(
            at_most(
                "local_color_shift_255_max",
                "colors_kept",
                5.0,
                6.0,
                ".1f",
                "colours shifted in one place by {} of 255",
            ),
        ),
    ),
    Metric(
        "subpixel_shift_px",
        "Shift",
        "Length of the displacement by least squares",
        better="lower",
        sees="a resize with wrong pixel centres, a shifted tile row",
        blind_to="displacements of small parts; exact only below about 1 px",
        unit="source px",
        high=None,
        limits=(
            at_most(
                "subpixel_shift_px_max",
                "detail_kept",
                0.1,
                0.1,
                ".2f",
                "content displaced by {} source px",
                highest=10.0,
            ),
        ),
    ),
    Metric(
        "detail_ratio",
        "Detail ratio",
        "RMS Laplacian of the round trip / of the source",
        better="target",
        sees="blur (below 1), sharpening and ringing (above 1)",
        blind_to="detail invented below the source's size",
        high=None,
        limits=(
            at_least(
                "detail_ratio_min", "detail_kept", 0.55, 0.55, ".2f", "blurred: detail ratio {}", highest=10.0
            ),
            at_most(
                "detail_ratio_max",
                "detail_kept",
                1.4,
                2.5,
                ".2f",
                "over-sharpened: detail ratio {}",
                highest=100.0,
            ),
        ),
    ),
    Metric(
        "occupancy_ratio",
        "Tone occupancy",
        "Used histogram levels of the result / of the source",
        better="higher",
        sees="posterisation, a palette, a lost bit depth",
        blind_to="banding that dithering hides",
        high=None,
        limits=(
            at_least(
                "occupancy_ratio_min",
                "detail_kept",
                0.3,
                0.3,
                ".2f",
                "posterised: {} of the source's levels left",
            ),
        ),
    ),
    Metric(
        "grid_ratio",
        "8 px grid",
        "Steps on the result's 8 px grid / beside it, beyond the source's own",
        better="lower",
        sees="strong JPEG blocks, nearest-neighbour enlargement by 4 or more",
        blind_to="JPEG of quality 75 and better; other grids",
        high=None,
        limits=(
            at_most(
                "grid_ratio_max",
                "detail_kept",
                2.0,
                2.0,
                ".2f",
                "blocks on an 8 px grid: ratio {}",
                highest=100.0,
            ),
        ),
    ),
    Metric(
        "lines_coherence",
        "Seam coherence",
        "Sign coherence of the residual along a tile border, beyond control rows",
        better="lower",
        sees="seams of 2 levels and more along the recorded tile grid",
        blind_to=(
            "seams within 76 px of the border; lines off the grid, unless full length; cuts full of edges"
        ),
        limits=(
            at_most(
                "lines_coherence_max",
                "no_lines",
                0.35,
                0.35,
                ".2f",
                "a straight line runs through the picture: coherence {}",
            ),
        ),
    ),
    Metric(
        "lines_step",
        "Seam step",
        "Step of the residual across a tile border, beyond control rows",
        better="lower",
        sees="tiles of different brightness",
        blind_to="as lines_coherence; not tested without a tile grid",
        unit="of 255",
        high=255.0,
        limits=(
            at_most(
                "lines_step_max", "no_lines", 0.4, 1.0, ".1f", "a step of {} of 255 runs along a tile border"
            ),
        ),
    ),
    Metric(
        "edge_pixel_loss",
        "Edge pixel loss",
        "Share of strong source edges lost, in the picture or at the matte's border (the worse)",
        better="lower",
        sees="erased lines, blank patches; a matte that cuts into the subject",
        blind_to="weak edges (below 16/255 per px)",
        digits=4,
        limits=(
            at_most(
                "edge_pixel_loss_max",
                "edges_preserved",
                0.035,
                0.035,
                ".1%",
                "{} of the strong edges are lost",
            ),
        ),
    ),
    Metric(
        "matte_edge_loss",
        "Edge loss, matte",
        "The matte's part of edge_pixel_loss",
        better="lower",
        sees="eroded hair, cut-off limbs with an outline",
        blind_to="subjects without outlines; parts lost more than 6 px deep",
        digits=4,
    ),
    Metric(
        "matte_foreground",
        "Foreground share",
        "Share of pixels with alpha >= 0.5",
        better="none",
        sees="no subject; nothing removed",
        blind_to="which subject",
        limits=(
            at_least(
                "foreground_min",
                "matte",
                0.01,
                0.01,
                ".1%",
                "no subject found: it covers {}",
                calibrated=False,
            ),
            at_most(
                "foreground_max",
                "matte",
                0.98,
                0.98,
                ".1%",
                "nothing was cut out: the subject covers {}",
                calibrated=False,
            ),
        ),
    ),
    Metric(
        "matte_components",
        "Matte pieces",
        "Objects of 64 px or more",
        better="lower",
        sees="specks, shredded masks",
        blind_to="specks joined to the subject",
        high=None,
        digits=0,
        limits=(
            at_most(
                "components_max",
                "matte",
                6.0,
                6.0,
                ".0f",
                "the matte is in {} pieces",
                lowest=1.0,
                highest=10000.0,
                severity="warn",
            ),
        ),
    ),
    Metric(
        "matte_soft_band_px",
        "Soft band",
        "Mean width of the transition",
        better="lower",
        sees="blurred masks",
        blind_to="a soft edge that should be soft",
        unit="px",
        high=None,
        digits=2,
        limits=(
            at_most(
                "soft_band_px_max",
                "matte",
                37.0,
                37.0,
                ".1f",
                "the matte's border is {} px wide",
                highest=1000.0,
                severity="info",
            ),
        ),
    ),
    *(_touches(side) for side in ("top", "right", "bottom", "left")),
    Metric(
        "matte_holes",
        "Matte holes",
        "Background regions of 64 px or more inside the subject",
        better="none",
        sees="punched-out parts",
        blind_to="true gaps",
        high=None,
        digits=0,
    ),
    Metric(
        "matte_hollow",
        "See-through edges",
        "Share of the subject's strong edges in see-through parts, beyond what alpha and background explain",
        better="lower",
        sees="bodies and clothes made transparent, feathered borders, discs at partial alpha",
        blind_to="parts without edges of their own; a background as full of edges; what is gone altogether",
        limits=(
            at_most(
                "hollow_max",
                "matte",
                0.03,
                0.03,
                ".1%",
                "the subject is see-through where it is solid: {} of its edges",
            ),
        ),
    ),
    Metric(
        "matte_halo",
        "Halo",
        "Share of the matte's rim that has the colour of the background beside it",
        better="lower",
        sees="a matte that is too wide by 2 px or more; a faint seam around the subject; feathering",
        blind_to="busy backgrounds; subjects of the background's colour; less than 2 px at 1024 px",
        limits=(
            at_most(
                "halo_max", "matte", 0.2, 0.2, ".0%", "a rim of the background came along: {} of the border"
            ),
        ),
    ),
    Metric(
        "matte_blind_border",
        "Border without an edge",
        "Longest stretch of hard border where the picture has no edge, over the root of its area",
        better="lower",
        sees="parts cut off, holes and leftovers whose border runs through plain colour",
        blind_to="borders that follow an edge of the picture; soft ones",
        high=None,
        limits=(
            at_most(
                "blind_border_max",
                "matte",
                0.04,
                0.04,
                ".2f",
                "the border runs where the picture has none: {} of its size",
                highest=10.0,
            ),
        ),
    ),
    Metric(
        "matte_false_border",
        "False hole or piece",
        "Longest closed border, a quarter or more without an edge in the picture, over the root of its area",
        better="lower",
        sees="holes in the subject, loose pieces of background",
        blind_to="holes and pieces whose border is an edge; less than 3% of the size around",
        high=None,
        limits=(
            at_most(
                "false_border_max",
                "matte",
                0.015,
                0.015,
                ".2f",
                "a hole or loose piece has a border that the picture has not: {} of its size",
                highest=10.0,
            ),
        ),
    ),
    Metric(
        "matte_cut",
        "Straight cut",
        "Longest straight horizontal or vertical border between the same colours, over the root of the area",
        better="lower",
        sees="a part of the subject cut off",
        blind_to="slanted, curved and soft cuts; cuts along an edge",
        high=None,
        limits=(
            at_most(
                "cut_max",
                "matte",
                0.06,
                0.06,
                ".2f",
                "a straight cut runs through the subject: {} of the picture's size",
                highest=10.0,
            ),
        ),
    ),
    Metric(
        "matte_leftover",
        "Leftover",
        "Largest piece apart from the subject with the background's colours, as a share of the subject",
        better="lower",
        sees="background objects that were kept apart from the subject",
        blind_to="what touches the subject; backgrounds of the subject's colours; below 64 px",
        limits=(
            at_most(
                "leftover_max",
                "matte",
                0.005,
                0.005,
                ".1%",
                "a piece of the background was kept: {} of the subject",
            ),
        ),
    ),
    Metric(
        "matte_frame_background",
        "Background at the frame",
        "The background's share of the picture's frame over its share of the picture",
        better="higher",
        sees="an inverted matte",
        blind_to="an inverted matte of a subject that fills the frame",
        high=None,
        limits=(
            at_least(
                "frame_background_min",
                "matte",
                0.7,
                0.7,
                ".2f",
                "the background lies inside the subject, as if the matte were inverted: ratio {}",
                highest=1.0,
                calibrated=False,
            ),
        ),
    ),
    Metric(
        "matte_regained",
        "Regained",
        "Share of the picture where the matte is more opaque than the source was",
        better="lower",
        sees="loss of the source's own alpha",
        blind_to="sources without alpha (not measured)",
        limits=(
            at_most(
                "regained_max",
                "matte",
                0.001,
                0.001,
                ".1%",
                "the source's own alpha was lost on {} of the picture",
                calibrated=False,
            ),
        ),
    ),
    Metric(
        "matte_unfollowed",
        "Alpha without colour",
        "Area where alpha changes slowly and the colours do not follow, as a share of the subject's",
        better="lower",
        sees="haze that fades, bodies that fade",
        blind_to="level haze; busy pictures; subjects of the background's colour",
        limits=(
            at_most(
                "unfollowed_max",
                "matte",
                0.03,
                0.03,
                ".1%",
                "alpha fades where the picture's colours do not: {} of the subject",
                severity="warn",
            ),
        ),
    ),
    Metric(
        "matte_faint_frame",
        "Faint frame",
        "Share of the picture's frame with a level alpha between 0.03 and 0.5",
        better="lower",
        sees="haze over the whole background",
        blind_to="haze below 0.03, and where it does not reach the frame",
        limits=(
            at_most(
                "faint_frame_max",
                "matte",
                0.6,
                0.6,
                ".0%",
                "a faint haze lies over the background: {} of the frame",
                severity="warn",
            ),
        ),
    ),
    *_agreement("second", "Second network", "`rembg.second_model`"),
    *_agreement("flip", "Mirrored", "the mirrored picture (`rembg.flips`)"),
)
