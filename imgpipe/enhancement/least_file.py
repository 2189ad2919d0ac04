"""A file of at least so many bytes: by scale, then by less compression, never by padding.

1. *Scale*: the same encoding of a larger picture, enlarged as little as needed; the search follows the power
   law through the sizes already seen.
2. *Less compression*, at the size as planned and then at the largest one: the formats of the priority in
   turn, lossy ones at a higher quality, PNG with codes alone and at last uncompressed.

No clock and no randomness: the same picture and settings take the same steps.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from imgpipe.enhancement.formats import Encoding, encoding_for
from imgpipe.enhancement.workbench import Candidate, Workbench
from imgpipe.images.encode import MAX_SIDES
from imgpipe.settings import EnhanceSettings

#: A file that is larger than asked for by no more than this factor is not worth another encoding.
_CLOSE_ENOUGH = 1.15
#: What the search aims at: a little more than asked for, since falling short costs an encoding.
_AIM = 1.04
#: bytes = a * side ^ power, before two sizes are known; of drawings 1.4 to 1.7 (measured on fourteen).
_POWER = 1.5


def grow(
    bench: Workbench, settings: EnhanceSettings, longest: int, found: Candidate, min_bytes: int
) -> Candidate | None:
    """The first file of at least ``min_bytes`` (and at most ``settings.max_bytes``) in the order above.

    ``longest``: the longer side of the largest picture that may be made, px. ``found``: the file that is too
    small. ``None`` where there is none; every attempt stays on the bench.
    """
    largest = max(bench.long_side, min(longest, MAX_SIDES.get(found.encoding.format, longest)))
    return _by_scale(bench, settings, largest, found, min_bytes) or _by_compression(
        bench, settings, (max(found.image.width, found.image.height), largest), found, min_bytes
    )


def _by_scale(
    bench: Workbench, settings: EnhanceSettings, largest: int, found: Candidate, min_bytes: int
) -> Candidate | None:
    fixed = bench.metadata_bytes
    low, high = max(found.image.width, found.image.height), largest + 1
    low_bytes, power, best = found.size_bytes, _POWER, None
    while low + 1 < high and bench.attempts_left:
        factor = (_AIM * max(1, min_bytes - fixed) / max(1, low_bytes - fixed)) ** (1 / power)
        side = min(high - 1, max(low + 1, math.ceil(low * min(factor, high / low))))
        candidate = bench.make(found.encoding, side)
        if candidate is None:
            break
        if candidate.size_bytes >= min_bytes:
            high, best = side, candidate
            if candidate.size_bytes <= min(_CLOSE_ENOUGH * min_bytes, settings.max_bytes or math.inf):
                break
        ratio = max(1.01, (candidate.size_bytes - fixed) / max(1, low_bytes - fixed))
        power = min(4.0, max(0.5, math.log(ratio) / math.log(side / low)))
        if candidate.size_bytes < min_bytes:
            low, low_bytes = side, candidate.size_bytes
    return best if best is not None and _fits(best, settings) else None


def _by_compression(
    bench: Workbench, settings: EnhanceSettings, sides: tuple[int, int], found: Candidate, min_bytes: int
) -> Candidate | None:
    for side in dict.fromkeys(sides):
        for encoding in _less_and_less(bench, settings, found.encoding):
            candidate = bench.make(encoding, side) if bench.attempts_left else None
            if candidate is not None and candidate.size_bytes >= min_bytes and _fits(candidate, settings):
                return candidate
    return None


def _less_and_less(bench: Workbench, settings: EnhanceSettings, used: Encoding) -> Iterator[Encoding]:
    for name in settings.save_format_priority:
        usual = encoding_for(bench.image, name, settings.quality)
        if usual != used:
            yield usual
        if usual.quality is not None and usual.quality < 100:
            yield Encoding(name, 100)
        if name == "WEBP" and not usual.lossless:
            yield Encoding(name)
        if name == "PNG":
            yield from (Encoding(name, effort="loose"), Encoding(name, effort="stored"))


def _fits(candidate: Candidate, settings: EnhanceSettings) -> bool:
    return settings.max_bytes is None or candidate.size_bytes <= settings.max_bytes
