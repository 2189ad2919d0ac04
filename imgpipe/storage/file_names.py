"""File names as parts of keys, and back.

A file name that is not UTF-8 still has a key: each undecodable byte becomes U+FFFD and two hex digits
(byte 0xFF: ``\ufffdFF``), and a real U+FFFD in a name is escaped the same way. So keys are printable, fit
into tables, and lead back to exactly one file.
"""

from __future__ import annotations

import os
import re

from imgpipe.errors import ObjectUnreadable

_UNPRINTABLE = re.compile("[\ufffd\udc80-\udcff]")
_ESCAPED_BYTE = re.compile(rb"\xef\xbf\xbd([0-9A-F]{2})")


def key_part(name: str) -> str:
    """A file name, as Python's os module gives it, as its part of a key."""

    def escaped(match: re.Match[str]) -> str:
        return "".join(f"\ufffd{byte:02X}" for byte in os.fsencode(match[0]))

    return _UNPRINTABLE.sub(escaped, name)


def file_name(part: str) -> str:
    """The inverse of :func:`key_part`; raises :class:`ObjectUnreadable` for what no name is escaped to.

    Without this check an escaped slash or dot would lead out of the store's root.
    """
    if "\ufffd" not in part and part.isprintable():
        return part
    try:
        raw = part.encode("utf-8")
    except UnicodeEncodeError as exc:
        raise ObjectUnreadable(f"{part!r}: expected Unicode text without surrogates in a key") from exc
    name = os.fsdecode(_ESCAPED_BYTE.sub(lambda match: bytes([int(match[1], 16)]), raw))
    if key_part(name) != part:
        raise ObjectUnreadable(f"{part!r}: expected U+FFFD in a key only before a byte that is not UTF-8")
    return name
