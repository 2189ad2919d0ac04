"""What :mod:`finish` does at a network's own scale, on the device: colours and depth, so that nothing larger
than the result has to leave it.

The same arithmetic as there in another order: a value next to the middle of two levels may be rounded to the
other one. Imported only where a network runs: this module loads torch.
"""

from __future__ import annotations

from functools import cache

import cv2
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d, interpolate

from imgpipe.upscaling.color_match import SIGMA_PX, WEIGHT_FLOOR, has_even_sides, sigma_of_halves
from imgpipe.upscaling.network import NATIVE_MAX, Finishing

_DTYPES = {8: torch.uint8, 16: torch.uint16}
#: Pixels of the result in float32 at once.
_PIXELS = 2**23


def finished(
    levels: Tensor, mean: Tensor, source: Tensor, alpha: Tensor | None, finishing: Finishing
) -> tuple[Tensor, Tensor]:
    """The result (height, width, 3) of 8 or 16 bits, and four float64: colour shift by channel as
    :class:`ColorShift` sums it, and the largest correction, both in 0..1.

    ``levels``: (height, width, 3) uint16 as the network made them; ``mean``, ``source``: (h, w, 3) float32;
    ``alpha``: (h, w) float32 or ``None``.
    """
    difference = source - mean
    # Filled there: a number that came from the host would wait for all that is under way.
    weight = torch.full((), source[..., 0].numel(), dtype=torch.float64, device=source.device)
    weighted = difference
    if alpha is not None:
        weight = alpha.sum(dtype=torch.float64).clamp_(min=1e-6)
        weighted = difference * alpha[..., None]
    shift = weighted.sum((0, 1), dtype=torch.float64).abs_() / weight
    correction = _correction(source, mean, difference, alpha) if finishing.color_match else None
    largest = torch.zeros_like(weight) if correction is None else correction.abs().max().double()
    return _rounded(levels, correction, finishing.bits), torch.cat([shift, largest[None]])


def _correction(source: Tensor, mean: Tensor, difference: Tensor, alpha: Tensor | None) -> Tensor:
    """See :func:`imgpipe.upscaling.color_match.color_correction`; (1, 3, h, w)."""
    correction = _low_frequencies(difference, alpha)
    left = source - (mean + correction[0].permute(1, 2, 0)).clamp_(0.0, 1.0)
    return correction + _low_frequencies(left, alpha)


def _low_frequencies(difference: Tensor, alpha: Tensor | None) -> Tensor:
    planes = difference.permute(2, 0, 1)[None]
    if alpha is None:
        return _blur(planes)
    weight = alpha[None, None]
    return _blur(planes * weight) / _blur(weight).clamp_(min=WEIGHT_FLOOR)


def _blur(planes: Tensor) -> Tensor:
    """(1, c, h, w), as :func:`imgpipe.upscaling.color_match._blur`."""
    size = planes.shape[2:]
    if not has_even_sides(size):
        return _gaussian(planes, SIGMA_PX)
    small = _gaussian(avg_pool2d(planes, 2), sigma_of_halves())
    return interpolate(small, size=size, mode="bilinear", align_corners=False)


def _gaussian(planes: Tensor, sigma: float) -> Tensor:
    """As OpenCV's on float32, with its border that repeats the outermost pixel."""
    radius = round(sigma * 8 + 1) // 2
    weights = _weights(radius, sigma, planes.device)
    for axis, shape in ((2, (1, 1, -1, 1)), (3, (1, 1, 1, -1))):
        length = planes.shape[axis]
        at = torch.arange(-radius, length + radius, device=planes.device) % (2 * length)
        around = planes.index_select(axis, torch.minimum(at, 2 * length - 1 - at))
        channels = around.transpose(0, 1)  # one plane at a time, by one kernel
        planes = conv2d(channels, weights.view(shape)).transpose(0, 1)
    return planes


@cache
def _weights(radius: int, sigma: float, device: torch.device) -> Tensor:
    return torch.from_numpy(cv2.getGaussianKernel(2 * radius + 1, sigma, cv2.CV_32F)[:, 0]).to(device)


def _rounded(levels: Tensor, correction: Tensor | None, bits: int) -> Tensor:
    """``levels`` with the correction enlarged to them, rounded half up."""
    height, width, _ = levels.shape
    full = 2**bits - 1
    result = torch.empty(levels.shape, dtype=_DTYPES[bits], device=levels.device)
    wide = None
    if correction is not None:
        wide = interpolate(
            correction, size=(correction.shape[2], width), mode="bilinear", align_corners=False
        )[0].permute(1, 2, 0)
    rows = max(1, _PIXELS // width)
    for start in range(0, height, rows):
        part = slice(start, min(start + rows, height))
        values = levels[part].float().mul_(full / NATIVE_MAX)
        if wide is not None:
            values += _between(wide, height, part).mul_(full)
        result[part] = values.add_(0.5).clamp_(0.0, full).to(result.dtype)
    return result


def _between(wide: Tensor, height: int, rows: slice) -> Tensor:
    """``rows`` of ``wide`` (h, width, 3) enlarged to ``height``, as :mod:`imgpipe.pixels.bilinear` does."""
    length = len(wide)
    at = torch.arange(rows.start, rows.stop, device=wide.device, dtype=torch.float64)
    at = ((at + 0.5) * length / height - 0.5).clamp_(0, length - 1)
    upper = at.floor()
    share = (at - upper).float()[:, None, None]
    above = upper.long()
    return torch.lerp(wide[above], wide[(above + 1).clamp_(max=length - 1)], share)
