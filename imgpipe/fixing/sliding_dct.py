"""Thresholding of 8x8 DCTs at many shifts of the block grid, and projection onto quantisation bins.

Shifts: Nosratinia 2001, "Enhancement of JPEG-compressed images by re-application of JPEG". Thresholds and
weights: Guleryuz 2006, "Nonlinear approximation based image recovery using adaptive sparse reconstructions";
blocks that need few coefficients, since no edge crosses them, count for more (Dabov et al. 2007, eq. 10).
Bins: Zakhor 1992, "Iterative procedures for reduction of blocking effects in transform image coding".
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
from scipy.fft import dct

Float = npt.NDArray[np.float32]

BLOCK_PX = 8
#: Half of all shifts, as on a chequerboard: 0.03 dB less than all of them for half of the time.
_SHIFTS = tuple((y, x) for y in range(BLOCK_PX) for x in range(BLOCK_PX) if (x + y) % 2 == 0)
#: How far a result reaches, px: :func:`shrink` plus :func:`within_bins`.
REACH_PX = 2 * (BLOCK_PX - 1)
_STRIP_ROWS = 8 * BLOCK_PX

_one_axis = dct(np.eye(BLOCK_PX), axis=0, norm="ortho")
#: (64, 64): a block's 64 pixels, by rows, as a row times this are its coefficients; orthonormal, so that its
#: transpose is the inverse. float64: some of OpenBLAS's loops sum in an order that depends on a row's place,
#: and a block's result shall not depend on where a picture was cut; rounded to float32 it does not.
_FORWARD = np.ascontiguousarray(np.kron(_one_axis, _one_axis).T, np.float64)
_INVERSE = np.ascontiguousarray(_FORWARD.T)
#: Low frequencies, without the mean.
LOW = [k for k in range(1, 64) if k // 8 + k % 8 <= 4]
_ONES = np.ones(64, np.float32)


def coefficients(plane: Float) -> Float:
    """(number of blocks, 64) of a plane whose sides are multiples of 8; 8 times the mean comes first."""
    return np.asarray(_by_blocks(plane).reshape(-1, 64).astype(np.float64) @ _FORWARD, np.float32)


def _pixels(coefs: Float) -> Float:
    """The blocks (number, 64) of :func:`coefficients`."""
    return np.asarray(coefs.astype(np.float64) @ _INVERSE, np.float32)


def low_and_all(planes: Sequence[Float], offset: tuple[int, int] = (0, 0)) -> tuple[Float, Float]:
    """(number of blocks, 14) low frequencies without the mean, and all 64, of the whole blocks of windows.

    ``offset``: px from the first corner of a block to each window's, down and across, 0..7.
    """
    found = [np.empty((0, 64), np.float32)]
    for plane in planes:
        inner = plane[-offset[0] % 8 :, -offset[1] % 8 :]
        found.append(coefficients(inner[: inner.shape[0] // 8 * 8, : inner.shape[1] // 8 * 8]))
    coefs = np.concatenate(found)
    return coefs[:, LOW], coefs


def _by_blocks(plane: Float) -> Float:
    """A view of a plane: (block rows, block columns, 8, 8)."""
    height, width = plane.shape
    return plane.reshape(height // 8, 8, width // 8, 8).transpose(0, 2, 1, 3)


def shrink(plane: Float, thresholds: Float) -> Float:
    """The mean over shifted block grids of the plane without coefficients below ``thresholds``.

    ``plane``: (height, width) float32. ``thresholds``: (64,), in the plane's unit; the mean is always kept.
    """
    height, width = plane.shape
    rows, columns = (-(-side // 8) * 8 + 8 for side in plane.shape)
    padded = np.asarray(
        cv2.copyMakeBorder(plane, 8, rows - height, 8, columns - width, cv2.BORDER_REFLECT_101), np.float32
    )
    total, weights = np.zeros_like(padded), np.zeros_like(padded)
    kept_always = np.array(thresholds, np.float32)
    kept_always[0] = -1
    for y, x in _SHIFTS:
        for top in range(y, y + rows, _STRIP_ROWS):
            part = slice(top, min(top + _STRIP_ROWS, y + rows)), slice(x, x + columns)
            coefs = coefficients(padded[part])
            kept = (np.abs(coefs) > kept_always).astype(np.float32)
            coefs *= kept
            weight = (kept @ _ONES) ** np.float32(-2)
            coefs *= weight[:, None]
            blocks = _by_blocks(total[part])
            blocks += _pixels(coefs).reshape(blocks.shape)
            size = weights[part].shape[::-1]
            weights[part] += cv2.resize(
                weight.reshape(blocks.shape[:2]), size, interpolation=cv2.INTER_NEAREST
            )
    inner = slice(8, 8 + height), slice(8, 8 + width)
    return np.asarray(total[inner] / weights[inner], np.float32)


def within_bins(
    result: Float, source: Float, steps: Float, slack: float, offset: tuple[int, int] = (0, 0)
) -> Float:
    """``result`` with every coefficient at most ``slack`` steps away from that of ``source``.

    A decoded JPEG's coefficients are the middles of their bins, so with 0.5 the result could have been coded
    to ``source``. ``steps``: (64,). ``offset``: px from the first corner of a block to the plane's, down and
    across, 0..7.
    """
    (down, right), (height, width) = offset, result.shape
    below, beside = -(height + down) % 8, -(width + right) % 8
    reach = np.float32(slack) * steps
    change = cv2.copyMakeBorder(result - source, down, below, right, beside, cv2.BORDER_REPLICATE)
    change = coefficients(np.asarray(change, np.float32))
    np.clip(change, -reach, reach, out=change)
    whole = np.empty((down + height + below, right + width + beside), np.float32)
    blocks = _by_blocks(whole)
    blocks[...] = _pixels(change).reshape(blocks.shape)
    return source + whole[down : down + height, right : right + width]
