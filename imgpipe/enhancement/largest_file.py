"""A file of at most so many bytes: by format, then by quality, then by scale, with the fewest losses first.

1. *Format*: each format of the priority at its best; the first file that is small enough is the result.
   Lossless encoders are told to try harder before anything is lost.
2. *Quality*: each lossy format at quality 90; where that is small enough, the highest quality that still is,
   by bisection.
3. *Scale*: the encoding that was smallest, reduced in size as little as needed, never below the least
   dimensions. File sizes grow with scale, so the largest one is searched between a size that fits and one
   that does not, by the power law through the sizes already seen.

No clock and no randomness: the same picture and settings take the same steps.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from imgpipe.enhancement.formats import LOWEST_QUALITY, Encoding, encoding_for
from imgpipe.enhancement.workbench import Candidate, Workbench
from imgpipe.settings import EnhanceSettings

#: A file whose pixels fill this share of what the target leaves them is not worth another encoding.
_CLOSE_ENOUGH = 0.92
#: The share that the search aims at: a little below all of it, since an overshoot costs an encoding.
_AIM = 0.97
#: Lossless WebP of drawings is 1.3 to 1.7 times smaller than PNG (measured on nine), of screentone and flat
#: areas far more; where PNG is further away from the target than this, its second of work is saved.
_LOSSLESS_REACH = 4.0


def reach(bench: Workbench, settings: EnhanceSettings, max_bytes: int) -> Candidate | None:
    """The first file of at most ``max_bytes`` in the order above, ``None`` where there is none; every
    attempt stays on the bench, the smallest file too."""
    return (
        _by_format(bench, settings, max_bytes)
        or _by_quality(bench, settings, max_bytes)
        or _by_scale(bench, settings, max_bytes)
    )


def least_long_side(bench: Workbench, settings: EnhanceSettings) -> int:
    """The longer side in px at which one side just reaches its least size; the whole, where it is none."""
    image, whole = bench.image, bench.long_side
    needed = max(
        math.ceil(whole * settings.min_width / image.width),
        math.ceil(whole * settings.min_height / image.height),
    )
    return min(whole, needed)


def _by_format(bench: Workbench, settings: EnhanceSettings, target: int) -> Candidate | None:
    for name in settings.save_format_priority:
        for encoding in _at_their_best(bench, name, settings.quality, target):
            candidate = bench.make(encoding)
            if candidate is None:
                break
            if candidate.size_bytes <= target:
                return candidate
    return None


def _at_their_best(bench: Workbench, name: str, quality: int, target: int) -> Iterator[Encoding]:
    """Encodings of one format in the order of their cost, those out of reach left out.

    A fast PNG packs run lengths only, so screentone, which repeats, becomes up to 45 times smaller with the
    slower encoder: its size says nothing about the other's.
    """
    usual, harder = encoding_for(bench.image, name, quality), Encoding(name, effort="balanced")
    if name == "WEBP":
        # Lossless for an opaque picture only in place of a PNG that was nearly small enough.
        if usual.lossless or _lossless_in_reach(bench, target):
            yield harder
        if not usual.lossless:
            yield usual
        return
    yield usual
    if usual.lossless:
        yield harder


def _lossless_in_reach(bench: Workbench, target: int) -> bool:
    sizes = [size for encoding, size in bench.sizes.items() if encoding.lossless]
    return bool(sizes) and min(sizes) <= _LOSSLESS_REACH * target


def _by_quality(bench: Workbench, settings: EnhanceSettings, target: int) -> Candidate | None:
    for name in settings.save_format_priority:
        if encoding_for(bench.image, name, settings.quality).lossless:
            continue
        if settings.quality > LOWEST_QUALITY:
            best = bench.make(Encoding(name, LOWEST_QUALITY))
            if best is not None and best.size_bytes <= target:
                return _highest_quality(bench, best, settings.quality, target)
    return None


def _highest_quality(bench: Workbench, best: Candidate, too_high: int, target: int) -> Candidate:
    """Between ``best``, which fits, and the quality ``too_high``, which does not."""
    fits = LOWEST_QUALITY
    while too_high - fits > 1 and bench.attempts_left:
        middle = (fits + too_high) // 2
        candidate = bench.make(Encoding(best.encoding.format, middle))
        if candidate is not None and candidate.size_bytes <= target:
            fits, best = middle, candidate
        else:
            too_high = middle
    return best


def _by_scale(bench: Workbench, settings: EnhanceSettings, target: int) -> Candidate | None:
    least, too_large = least_long_side(bench, settings), bench.long_side
    if not bench.sizes or least == too_large:
        return None
    encoding = min(bench.sizes, key=lambda tried: bench.sizes[tried])
    fixed = bench.metadata_bytes
    seen = {too_large: bench.sizes[encoding]}
    best: Candidate | None = None
    fits = 0
    while too_large > max(least, fits + 1) and bench.attempts_left:
        # While a few are left, it must be known whether the target can be reached at all.
        doubtful = best is None and bench.attempts_left <= 3
        side = least if doubtful else _next_side(seen, fits, too_large, least, target, fixed)
        candidate = bench.make(encoding, side)
        if candidate is None:
            break
        seen[side] = candidate.size_bytes
        if candidate.size_bytes > target:
            too_large = side
        else:
            fits, best = side, candidate
            if candidate.size_bytes - fixed >= _CLOSE_ENOUGH * (target - fixed):
                break
    return best


def _next_side(seen: dict[int, int], fits: int, too_large: int, least: int, target: int, fixed: int) -> int:
    """The side at which bytes = fixed + a * side^p hits the target; p through two sizes seen, else 2."""

    def logs(side: int) -> tuple[float, float]:
        return math.log(side), math.log(max(1, seen[side] - fixed))

    wanted = math.log(max(1.0, (target - fixed) * _AIM))
    x, y = logs(too_large)
    other = fits or min((side for side in seen if side > too_large), default=0)
    power = 2.0
    if other:
        x2, y2 = logs(other)
        power = min(4.0, max(0.5, (y2 - y) / (x2 - x)))
    side = int(math.exp(min(x, x + (wanted - y) / power)))
    lowest, highest = max(least, fits + 1), too_large - 1
    if fits:
        # Never so near to one end that the other stays far away.
        margin = (highest - lowest) // 8
        lowest, highest = lowest + margin, highest - margin
    return min(highest, max(lowest, side))
