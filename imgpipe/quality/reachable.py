"""What a Lanczos enlargement of a picture reaches: the metrics of its own round trip.

No enlargement gives dots of one bit, letters of ten pixels or lines of one pixel back exactly: Lanczos rings
beside them, and what lies beyond black and white is cut off. How far that goes depends on the source alone.

A pixel of an enlargement by k is one of k x k phases of a filter over the source's pixels, and the area
average of the enlargement is the mean of the phases, each clipped: it is computed at the source's size.
"""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np

from imgpipe.images.image import Image
from imgpipe.pixels.axis_filter import AxisFilter
from imgpipe.pixels.round_trip import KEPT_PX, Float, Reduced, reduce_picture
from imgpipe.pixels.strips import spans
from imgpipe.quality.comparison import measure, pairs_of
from imgpipe.quality.findings import Findings

#: The steps of :data:`imgpipe.quality.comparison.MEASURES` whose metrics have limits with a margin.
STEPS = ("psnr", "ssim", "colour", "structure")
#: Lanczos reaches over three source pixels; larger factors than this reach nearly the same.
_REACH_PX, _MAX_FACTOR = 3, 4
_STRIP_ROWS = 64
#: What a size in whole pixels may add to a factor.
_ROUNDING = 0.1
_OPAQUE = np.float32(255.0)
_ONE = np.ones(1, np.float32)
#: Weights (7,), and their sums inside the picture (length,).
Phase = tuple[Float, Float]


def lanczos_reaches(source: Image, scale: float) -> dict[str, float]:
    """Metrics by name of ``source`` against its enlargement by Lanczos, by ``scale`` as a whole factor, 2..4.

    Empty where nothing was enlarged, and above 16 megapixels, for its cost.
    """
    if scale <= 1 or source.width * source.height > KEPT_PX:
        return {}
    before = reduce_picture(source, (source.width, source.height))
    found = Findings()
    after = lanczos_round_trip(before, min(_MAX_FACTOR, max(2, math.ceil(scale - _ROUNDING))))
    for pair in pairs_of(before, after, found):
        measure(pair, found, STEPS)
    return found.metrics


def lanczos_round_trip(picture: Reduced, factor: int) -> Reduced:
    """``picture``, over black and at its own size, enlarged by ``factor`` and averaged back.

    ``full`` stays the picture's own. Colours are clipped to 0..alpha. At the border the kernel is cut off and
    normalised again, as by Pillow.
    """
    rgb = np.empty(picture.rgb.shape, np.float32)
    alpha = None if picture.alpha is None else np.empty(rgb.shape[:2], np.float32)
    height = rgb.shape[0]
    down, across = (_phases(factor, length) for length in rgb.shape[:2])
    for rows in spans(0, height, _STRIP_ROWS):
        seen = slice(max(0, rows.start - _REACH_PX), min(height, rows.stop + _REACH_PX))
        layers = np.asarray(picture.rgb[seen], np.float32)
        if picture.alpha is not None:
            layers = np.dstack([layers, picture.alpha[seen] * _OPAQUE])
        own = slice(rows.start - seen.start, rows.stop - seen.start)
        mean = _mean_of_phases(layers, own, [(kernel, sums[rows]) for kernel, sums in down], across)
        rgb[rows] = mean[..., :3]
        if alpha is not None:
            alpha[rows] = mean[..., 3] / _OPAQUE
    return replace(picture, rgb=rgb, alpha=alpha)


def _mean_of_phases(layers: Float, own: slice, down: list[Phase], across: list[Phase]) -> Float:
    """Rows ``own`` of (rows, columns, 3 or 4), premultiplied on 0..255, each phase clipped."""
    total = np.zeros((own.stop - own.start, *layers.shape[1:]), np.float32)
    for kernel, sums in down:
        mixed = _filtered(layers, _ONE, kernel)[own] / sums[:, None, None]
        for kernel_across, sums_across in across:
            phase = _filtered(mixed, kernel_across, _ONE) / sums_across[:, None]
            np.clip(phase, 0, _OPAQUE, out=phase)
            if phase.shape[2] == 4:
                np.minimum(phase[..., :3], phase[..., 3:], out=phase[..., :3])
            total += phase
    total /= np.float32(len(down) * len(across))
    return total


def _phases(factor: int, length: int) -> list[Phase]:
    """For each pixel made in a source pixel's place: the weights of the 7 around that, and what of them lies
    inside a picture of ``length`` px.
    """
    taps = 2 * _REACH_PX + 1
    places = slice(_REACH_PX * factor, (_REACH_PX + 1) * factor)
    kernels = AxisFilter(taps, taps * factor).matrix(places)
    return [(one, _filtered(np.ones((1, length), np.float32), one, _ONE)[0]) for one in kernels]


def _filtered(values: Float, across: Float, down: Float) -> Float:
    """Weighted sums around each pixel; outside is 0."""
    sums = cv2.sepFilter2D(values, cv2.CV_32F, across, down, borderType=cv2.BORDER_CONSTANT)
    return np.asarray(sums, np.float32)
