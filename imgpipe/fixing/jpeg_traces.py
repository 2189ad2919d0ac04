"""What JPEG left in a picture's pixels: where its blocks begin, and how coarsely they were quantised.

Blocks: steps across their borders stand out against the steps beside them, as in Wang, Sheikh and Bovik
2002, "No-reference perceptual quality assessment of JPEG compressed images". Quantisation: on the block grid
coefficients lie at multiples of the step (Fan and de Queiroz 2003, "Identification of bitmap compression
history"), here for all steps of libjpeg's scaled tables (T.81, annex K) at once, so that one number, the
quality, is looked for.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from imgpipe.fixing.sliding_dct import LOW, Float, low_and_all

#: T.81, tables K.1 and K.2.
_LUMA = (
    *(16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55),
    *(14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62),
    *(18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92),
    *(49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMA = (
    *(17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99),
    *(24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99, 99, 99),
    *(99,) * 32,
)
#: Qualities that leave traces which survive rounding to 8 bits and can be seen.
QUALITIES = range(5, 93)
#: Mean cosine of coefficients against their steps, and how many coefficients it takes.
_LEAST_MATCH, _LEAST_COUNT = 0.5, 200
#: A step that is too small to be seen, added to both sides so that flat pictures read 1, 1/255.
_FLOOR = 0.03
#: Steps above this are edges of the drawing, 1/255.
_EDGE = 24.0


def table(quality: int, *, chroma: bool = False) -> Float:
    """The 64 steps that libjpeg scales for a quality, 1..100, by rows."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    steps = (np.array(_CHROMA if chroma else _LUMA) * percent + 50) // 100
    return np.asarray(np.clip(steps, 1, 255), np.float32)


def quality_of(steps: Sequence[int]) -> int:
    """The quality whose luma table is nearest to ``steps``, in their logarithms."""
    wanted = np.log(np.asarray(steps, np.float64))
    return min(range(1, 101), key=lambda quality: float(np.abs(np.log(table(quality)) - wanted).sum()))


def find_traces(lumas: Sequence[Float]) -> tuple[int | None, tuple[int, int]]:
    """libjpeg's quality, 1..100, or ``None`` without traces; and the px from the first corner of a block to
    the picture's, down and across, 0..7.

    ``lumas``: windows of the picture's luma, 0..255, whose corners are multiples of 16 px.
    """
    down, across = (int(-np.argmax(steps) - 1) % 8 for steps in _both(lumas))
    return _quality(lumas, (down, across)), (down, across)


def blockiness(lumas: Sequence[Float], offset: tuple[int, int]) -> float:
    """Mean step across the borders of blocks over the mean step elsewhere, the smaller of both directions;
    about 1 for clean pictures."""
    return min(_ratio(steps, place) for steps, place in zip(_both(lumas), offset, strict=True))


def _both(lumas: Sequence[Float]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    return _border_steps(lumas), _border_steps([luma.T for luma in lumas])


def _ratio(steps: npt.NDArray[np.float64], offset: int) -> float:
    at = (-offset - 1) % 8
    others = (steps.sum() - steps[at]) / 7
    return float((steps[at] + _FLOOR) / (others + _FLOOR))


def _border_steps(lumas: Sequence[Float]) -> npt.NDArray[np.float64]:
    """(8,) mean step between rows ``i`` and ``i + 1`` by ``i`` modulo 8, without the drawing's edges."""
    sums, counts = np.zeros(8), np.zeros(8)
    for luma in lumas:
        steps = np.abs(np.diff(luma, axis=0))
        small = steps < _EDGE
        steps *= small
        by_row, rows = steps.sum(axis=1, dtype=np.float64), np.arange(len(steps)) % 8
        sums += np.bincount(rows, by_row, minlength=8)
        counts += np.bincount(rows, small.sum(axis=1), minlength=8)
    return np.asarray(sums / np.maximum(counts, 1))


def _quality(lumas: Sequence[Float], offset: tuple[int, int]) -> int | None:
    """The lowest quality to whose steps the coefficients keep, or ``None``."""
    coefs, _ = low_and_all(lumas, offset)
    best = _LEAST_MATCH, 0
    for quality in QUALITIES:
        match = _match(coefs, table(quality))
        # Multiples of a step are multiples of its half too: the coarser table counts.
        if match > best[0] + (0.02 if best[1] else 0.0):
            best = match, quality
    return best[1] or None


def _match(coefs: Float, steps: Float) -> float:
    """Mean cosine of the low coefficients against their steps: 1 at multiples, 0 by chance or of too few."""
    turns = coefs / steps[LOW]
    counted = np.abs(turns) > np.float32(0.7)
    count = int(counted.sum())
    return float((np.cos(turns * np.float32(2 * np.pi)) * counted).sum()) / max(count, _LEAST_COUNT)


def keeps_to(planes: Sequence[Float], steps: Float, offset: tuple[int, int]) -> bool:
    """Whether a plane was quantised by these steps on this grid. ``planes``: its windows."""
    return _match(low_and_all(planes, offset)[0], steps) > _LEAST_MATCH
