"""Which image ids are taken, in memory that does not grow with their number: a Bloom filter.

B. H. Bloom, "Space/time trade-offs in hash coding with allowable errors", CACM 13 (1970). It never forgets an
id. With 2^28 bits and 4 hashes it takes a free id for taken once in 2e7 times at 10^6 ids, once in 2,000 at
10^7, every third time at 10^8; such an image merely gets a longer name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from imgpipe.storage import keys

_BITS = 28
#: Hex digits of an id that needs no look-up: 80 bits make two equal ones among 10^8 images a 4e-9 chance.
SURE_DIGITS = 20


class TakenIds:
    """A set of ids that may only err by holding too much; case does not count, as on some file systems."""

    def __init__(self, ids: Iterable[str] = ()) -> None:
        # Pages of zeros that are never written to take no memory.
        self._bits = bytearray(1 << (_BITS - 3))
        for name in ids:
            self.add(name)

    def add(self, name: str) -> None:
        for place in _places(name):
            self._bits[place >> 3] |= 1 << (place & 7)

    def __contains__(self, name: str) -> bool:
        return all(self._bits[place >> 3] & 1 << (place & 7) for place in _places(name))

    def free_id(self, key: str) -> str:
        """The shortest id for this key that nobody has; it is taken from now on."""
        lengths = (10, SURE_DIGITS, 64)
        candidates = (keys.image_id(key, digits=digits) for digits in lengths)
        name = next((name for name in candidates if name not in self), keys.image_id(key, digits=64))
        self.add(name)
        return name


def _places(name: str) -> tuple[int, int, int, int]:
    digest = hashlib.sha256(name.lower().encode()).digest()
    mask = (1 << _BITS) - 1
    whole = int.from_bytes(digest[:16], "little")
    return whole & mask, whole >> 32 & mask, whole >> 64 & mask, whole >> 96 & mask
