"""What is measured where the truth is known: by action, the score that ranks its models first."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from imgpipe.metrics.metric import Metric

_matte = partial(Metric, sees="", blind_to="")
_score = partial(_matte, better="higher", digits=4)
_error = partial(_matte, better="lower", high=None)
_PICTURE = "over black, the pictures' own size"

_MATTE = (
    _score("s_measure", "S-measure", "Structure-measure, alpha 0.5 (Fan et al. 2017)"),
    _score("weighted_f", "Weighted F", "Weighted F-measure, beta 1 (Margolin et al. 2014)"),
    _score(
        "boundary_iou", "Boundary IoU", "IoU inside the border, within 2 % of the diagonal, cut at one half"
    ),
    _score("boundary_iou_mean", "Boundary IoU, mean", "The same of grey boundaries, mean of all 256 levels"),
    _score("mba", "MBA", "Mean boundary accuracy, five widths (Cheng et al. 2020)"),
    _score("pixel_accuracy", "Pixel accuracy", "Within 10 of 255, specks left out, as ToonOut's evaluator"),
    _error("sad", "SAD", "Sum of absolute differences of alpha", unit="/ 1000", digits=3),
    _error("mse", "MSE", "Mean squared difference of alpha", unit="x 1000", digits=3),
    _error("grad", "Grad", "Gradient error (Rhemann et al. 2009)", unit="/ 1000", digits=3),
    _error("conn", "Conn", "Connectivity error (Rhemann et al. 2009)", unit="/ 1000", digits=3),
    _score("iou", "IoU", "Intersection over union of the areas of at least one half"),
    _error("boundary_mae", "Border error", "Mean difference of alpha within 5 px of the border", digits=4),
    _error("boundary_mae_px", "Border distance", "Mean distance of the contours", unit="px", digits=2),
)
_UPSCALED = (
    _score("psnr", "PSNR, RGB", f"PSNR against the truth, {_PICTURE}", unit="dB", high=None, digits=2),
    _score("ssim", "SSIM, RGB", f"SSIM against the truth, mean over R, G, B, {_PICTURE}", low=-1.0),
    _score("psnr_y", "PSNR, luma", "PSNR of BT.601 luma on 0..255", unit="dB", high=None, digits=2),
    _score("ssim_y", "SSIM, luma", "SSIM of BT.601 luma on 0..255", low=-1.0),
)
#: Action -> its metrics.
TRUTH: Mapping[str, tuple[Metric, ...]] = {"rembg": _MATTE, "upscale": _UPSCALED}
