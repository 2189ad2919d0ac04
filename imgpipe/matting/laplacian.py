"""The matting Laplacian restricted to the windows that touch unknown pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from imgpipe.images.image import Pixels
from imgpipe.matting.matte import Alpha
from imgpipe.pixels.strips import spans

#: Regularisation of a window's covariance, on colours in 0..1; pymatting's default.
EPSILON = 1e-7

#: Below the first variance, of the three channels together, a window's colours may differ by compression
#: alone; the second one is then added to each channel. They are 6 and 0.7 squared levels of 255.
_ONE_COLOUR, _ONE_COLOUR_RIDGE = 9.2e-5, 1.1e-5

_WINDOW = 9
_STENCIL = 5  # two pixels of one 3x3 window are at most 2 apart along each axis
#: How many are worked on at once: calls on fewer would wait for one another's threads more often.
_CHUNK_WINDOWS, _CHUNK_UNKNOWNS = 8_192, 8_192

#: (9, 9): where in the stencil of a window's first pixel its second one lies.
_PLACES = np.array(
    [
        [(second // 3 - first // 3 + 2) * _STENCIL + second % 3 - first % 3 + 2 for second in range(_WINDOW)]
        for first in range(_WINDOW)
    ]
)

Index = npt.NDArray[np.int64]
Float = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class BandSystem:
    """``matrix`` x = ``right_side`` for the pixels ``unknowns`` (flat indices, ascending) of a picture of
    ``width`` px.

    ``matrix``: scipy CSR, float64, symmetric positive semi-definite, sorted indices.
    """

    matrix: Any
    right_side: Float
    unknowns: Index
    width: int

    def pulled(self, towards: Float, weights: Float) -> BandSystem:
        """The system of the energy plus ``weights * (x - towards)^2``; both with one value per unknown."""
        from scipy.sparse import diags

        matrix = (self.matrix + diags(weights, format="csr")).tocsr()
        matrix.sort_indices()
        return BandSystem(matrix, self.right_side + weights * towards, self.unknowns, self.width)


def band_system(
    colour: Pixels,
    alpha: Alpha,
    number: npt.NDArray[np.int32],
    unknowns: Index,
    centres: Index,
    epsilon: float | None = EPSILON,
) -> BandSystem:
    """Assemble ``L_UU x = -L_UK alpha_K`` over the windows around ``centres``.

    ``colour``: uint8 or uint16 (height, width, 3). ``alpha``: float32 (height, width), read on known
    pixels. ``number``: scratch of height x width entries, all -1, and again so on return. ``centres``:
    flat indices that are not on the picture's border. ``epsilon``: as :func:`window_weights` has it.
    """
    width = colour.shape[1]
    around = _offsets(3, width)
    number[unknowns] = np.arange(unknowns.size, dtype=np.int32)
    stencil = np.zeros((_STENCIL * _STENCIL, unknowns.size))
    flat_colour = colour.reshape(-1, 3)
    full_scale = float(np.iinfo(colour.dtype).max)
    for start in range(0, centres.size, _CHUNK_WINDOWS):
        pixels = centres[start : start + _CHUNK_WINDOWS] + around[:, None]
        weights = window_weights((flat_colour[pixels] / full_scale).transpose(1, 0, 2), epsilon)
        _accumulate(stencil, weights.transpose(1, 2, 0), number[pixels])
    matrix, right_side = _split(stencil, unknowns, number, alpha, width)
    number[unknowns] = -1
    return BandSystem(matrix, right_side, unknowns, width)


def window_weights(colours: Float, epsilon: float | None = EPSILON) -> Float:
    """Each window's share of the Laplacian: (windows, 9, 3) colours in 0..1 -> (windows, 9, 9).

    ``epsilon``: the regularisation of every window; ``None``: :data:`EPSILON`, and more in windows of one
    colour.

    With ``C + eps/9 I = R R'`` (Cholesky) and ``y_i = R^-1 (c_i - m)`` the quadratic form is ``y_i' y_j``.
    The covariance of flat or two-coloured windows, the rule in drawings, is singular without
    epsilon; rounding would destroy its determinant but not its Cholesky factor.
    """
    centred = np.ascontiguousarray(colours.transpose(2, 1, 0))
    centred -= centred.mean(axis=1, keepdims=True)
    first, second, third = _whiten(centred, epsilon)
    weights = np.empty((_WINDOW, _WINDOW, colours.shape[0]))
    for row in range(_WINDOW):
        products = first[row] * first[row:]
        products += second[row] * second[row:]
        products += third[row] * third[row:]
        products += 1.0
        products /= -float(_WINDOW)
        products[0] += 1.0
        weights[row, row:] = weights[row:, row] = products
    return weights.transpose(2, 0, 1)


def _whiten(centred: Float, epsilon: float | None) -> tuple[Float, Float, Float]:
    """(3, 9, windows) -> the three whitened channels, (9, windows) each."""
    red, green, blue = centred

    def covariance(one: Float, other: Float) -> Float:
        return np.asarray(np.einsum("iw,iw->w", one, other) / _WINDOW)

    def pivot(value: Float) -> Float:
        # No Schur complement of C + ridge I is below the ridge, except by rounding.
        return np.asarray(np.sqrt(np.maximum(value, ridge)))

    c00, c11, c22 = (covariance(channel, channel) for channel in centred)
    ridge: Float | float = (EPSILON if epsilon is None else epsilon) / _WINDOW
    if epsilon is None:
        ridge = np.where(c00 + c11 + c22 < _ONE_COLOUR, _ONE_COLOUR_RIDGE, ridge)
    r00 = pivot(c00 + ridge)
    r10, r20 = covariance(red, green) / r00, covariance(red, blue) / r00
    r11 = pivot(c11 + ridge - r10 * r10)
    r21 = (covariance(green, blue) - r20 * r10) / r11
    r22 = pivot(c22 + ridge - r20 * r20 - r21 * r21)
    first = red / r00
    second = (green - r10 * first) / r11
    return first, second, (blue - r20 * first - r21 * second) / r22


def _accumulate(stencil: Float, weights: Float, rows: npt.NDArray[np.int32]) -> None:
    """Add ``weights`` (9, 9, windows) to the rows (9, windows) of ``stencil`` (25, unknowns)."""
    covered = rows[rows >= 0]
    if covered.size == 0:
        return
    low = int(covered.min())
    span = int(covered.max()) + 1 - low
    bins = np.where(rows >= 0, rows - low, span).astype(np.int64)[:, None] + (_PLACES * (span + 1))[..., None]
    # One call for all of it: each of many short ones could wait for another thread.
    total = np.bincount(bins.ravel(), weights.ravel(), _STENCIL * _STENCIL * (span + 1))
    stencil[:, low : low + span] += total.reshape(_STENCIL * _STENCIL, span + 1)[:, :span]


def _split(
    stencil: Float, unknowns: Index, number: npt.NDArray[np.int32], alpha: Alpha, width: int
) -> tuple[Any, Float]:
    from scipy.sparse import csr_matrix

    size = unknowns.size
    right_side, counts = np.empty(size), np.zeros(size + 1, np.int64)
    values, offsets = alpha.reshape(-1), _offsets(_STENCIL, width)[:, None]
    entries, columns = [np.zeros(0)], [np.zeros(0, np.int32)]
    for some in spans(0, size, _CHUNK_UNKNOWNS):
        # Entries outside the picture are zero: no window contributes to them.
        neighbours = np.clip(unknowns[some] + offsets, 0, number.size - 1)
        column, weight = number[neighbours], stencil[:, some]
        right_side[some] = -np.where(column == -1, weight * values[neighbours], 0.0).sum(axis=0)
        column[weight == 0.0] = -1
        # Stencil positions ascend in flat index, and so do the numbers: every row comes out sorted.
        row = np.ascontiguousarray(column.T)
        inner = row >= 0
        counts[1:][some] = np.count_nonzero(inner, axis=1)
        columns.append(row[inner])
        entries.append(np.ascontiguousarray(weight.T)[inner])
    whole = np.concatenate(entries), np.concatenate(columns), np.cumsum(counts)
    return csr_matrix(whole, shape=(size, size)), right_side


def _offsets(size: int, width: int) -> Index:
    steps = np.arange(size, dtype=np.int64) - size // 2
    return (steps[:, None] * width + steps[None, :]).reshape(-1)
