"""The guide image of closed-form matting: the visible picture without its noise.

Closed-form matting takes alpha for a linear function of colour in every 3x3 window, so that noise in the
picture becomes noise in alpha. Where the known pixels beside the unknown band show noise, the band is
smoothed by a bilateral filter (Tomasi and Manduchi 1998), which keeps edges that are stronger than the noise.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from imgpipe.images.image import Pixels
from imgpipe.matting.trimap import BACKGROUND, FOREGROUND, UNKNOWN, Mask, Trimap

#: Standard deviations, in levels of 255: below the first it is rounding, above the second texture.
NOISE_255 = (0.7, 12.0)

#: Context that the noise is measured in, px around the unknown band.
_NEAR_PX = 16

#: Least number of known pixels of a side for an estimate, and the most that are used.
_SAMPLES = (200, 200_000)

#: The bilateral filter's window, its spatial sigma (px), and its range sigma in those of the noise.
_DIAMETER_PX, _SPACE_PX, _RANGE = 5, 1.5, 3.0

_STRIP_ROWS = 64

#: Steps of up to so many levels are counted on every fourth line. Blocks are seen where this share of a
#: grid's places has one, and so many times that of any other places. Clean pictures reach 0.006, or 1.12
#: times; video and JPEG 0.37 to 0.6, and 1.17 to 1.6 times.
_SMALL_STEP, _EVERY, _GRID_PX, _FREQUENT, _MORE_FREQUENT = 3, 4, 8, 0.05, 1.25

# Immerkaer 1996, "Fast Noise Variance Estimation": blind to planes and to straight edges along the axes.
_SECOND_DIFFERENCE = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
_GAIN = 6.0
_MEDIAN_TO_SIGMA = 1.4826

Float = npt.NDArray[np.float32]


def guide_of(colour: Pixels, trimap: Trimap) -> tuple[Pixels, float]:
    """The guide image, and the noise that was removed (0: ``colour`` itself is returned).

    ``colour``: uint8 or uint16 (height, width, 3); the guide has its dtype and differs from it only on and
    around unknown pixels. The noise is a standard deviation in levels of 255.
    """
    noise = noise_255(colour, trimap)
    if not NOISE_255[0] <= noise <= NOISE_255[1]:
        return colour, 0.0
    guide = colour.copy()
    needed = cv2.dilate((trimap == UNKNOWN).astype(np.uint8), np.ones((5, 5), np.uint8))
    height = needed.shape[0]
    for top in range(0, height, _STRIP_ROWS):
        bottom = min(height, top + _STRIP_ROWS)
        if needed[top:bottom].any():
            guide[top:bottom] = _smoothed(colour, top, bottom, noise)
    return guide, noise


def has_blocks(colour: Pixels) -> bool:
    """Whether steps of a level or two lie on an 8 px grid, along both axes, as compression leaves them.

    ``colour``: uint8 or uint16 (height, width, 3).
    """
    level = np.iinfo(colour.dtype).max / 255
    for lines in (colour[::_EVERY], colour[:, ::_EVERY].swapaxes(0, 1)):
        steps = np.abs(np.diff(lines.astype(np.int32), axis=1)).max(axis=2, initial=0) / level
        small = ((steps > 0.5) & (steps < _SMALL_STEP + 0.5)).mean(axis=0)
        if small.size < _GRID_PX**2:
            return False
        second, first = np.sort([small[phase::_GRID_PX].mean() for phase in range(_GRID_PX)])[-2:]
        if first < max(_FREQUENT, _MORE_FREQUENT * second):
            return False
    return True


def noise_255(colour: Pixels, trimap: Trimap) -> float:
    """The standard deviation of the noise beside the unknown band, levels of 255: the larger one of subject
    and background, each estimated robustly against drawn structure; 0 where neither can be measured."""
    reach = np.ones((2 * _NEAR_PX + 1, 2 * _NEAR_PX + 1), np.uint8)
    near = cv2.dilate((trimap == UNKNOWN).astype(np.uint8), reach) > 0
    sigmas = []
    for value in (BACKGROUND, FOREGROUND):
        known = (trimap == value).astype(np.uint8)
        # The second difference must not look across the border of what is known.
        inside = (cv2.erode(known, np.ones((3, 3), np.uint8)) > 0) & near
        samples = _second_differences(colour, inside)
        if samples.size >= _SAMPLES[0]:
            sigmas.append(_MEDIAN_TO_SIGMA * float(np.median(samples)) / _GAIN)
    return max(sigmas, default=0.0)


def _second_differences(colour: Pixels, inside: Mask) -> Float:
    """Absolute values, in levels of 255, on an even choice of strips."""
    height = inside.shape[0]
    strips = range(0, height, _STRIP_ROWS)
    wanted = int(np.count_nonzero(inside))
    step = max(1, wanted // _SAMPLES[1])
    found = [np.zeros(0, np.float32)]
    for top in strips[::step]:
        rows = slice(max(0, top - 1), min(height, top + _STRIP_ROWS + 1))
        if inside[rows].any():
            picture = _levels(colour[rows])
            response = cv2.filter2D(picture, cv2.CV_32F, _SECOND_DIFFERENCE)
            found.append(np.abs(response)[inside[rows]].ravel())
    return np.concatenate(found)


def _smoothed(colour: Pixels, top: int, bottom: int, noise: float) -> Pixels:
    margin = _DIAMETER_PX // 2
    first, last = max(0, top - margin), min(colour.shape[0], bottom + margin)
    strip = colour[first:last]
    # Rows that end inside the picture are filtered with their neighbours, so that the strips do not show.
    picture = strip if strip.dtype == np.uint8 else _levels(strip)
    smooth = cv2.bilateralFilter(np.ascontiguousarray(picture), _DIAMETER_PX, _RANGE * noise, _SPACE_PX)
    kept = smooth[top - first : bottom - first]
    if strip.dtype == np.uint8:
        return np.asarray(kept, np.uint8)
    return np.asarray(np.rint(np.clip(kept * np.float32(257), 0, 65535)), np.uint16)


def _levels(colour: Pixels) -> Float:
    scale = np.float32(255 / np.iinfo(colour.dtype).max)
    return np.asarray(colour.astype(np.float32) * scale)
