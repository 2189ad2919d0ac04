"""Names of images and data sets: readable in every script, safe in paths, URLs and terminals.

Letters, digits and marks of every script (Unicode categories L, N and M) and ``_`` are kept. Every other
character becomes ``_``: separators, quotes, symbols and emoji, control and format characters (bidi overrides,
zero-width joiners), and invisible letters and marks (Hangul fillers, variation selectors).

The text is in normalisation form C (Unicode Standard Annex #15): equal-looking names become equal text, and
unlike form KC it replaces no letter by another one (ﬁ stays one letter, half-width kana stay half-width).
"""

from __future__ import annotations

import re
import unicodedata

#: Code points; with four bytes each in UTF-8 still below the 255 bytes of a file name.
DATASET_LENGTH = 63

#: The letters and marks that are Default_Ignorable_Code_Point in Unicode's DerivedCoreProperties.txt.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


def counted(number: int, noun: str) -> str:
    """As in ``1 image`` and ``2,000 images``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def readable_name(text: str, max_bytes: int, *, also: str = "") -> str:
    """A name made from any text: at most ``max_bytes`` of UTF-8, ``""`` where no character is kept.

    ``also``: further characters that are kept. The name begins with a letter or digit, does not end with
    ``_`` or a character of ``also``, and is cut between code points.
    """
    normal = unicodedata.normalize("NFC", text)
    kept = "".join(char if _is_kept(char) or char in also else "\0" for char in normal)
    joined = re.sub("\0+", "_", kept)
    while joined and not _is_alphanumeric(joined[0]):
        joined = joined[1:]
    return joined.encode()[:max_bytes].decode(errors="ignore").rstrip("_" + also)


def is_file_name(text: str) -> bool:
    """Whether every character is a kept one, ``-`` or ``.``, and the first is a letter, digit or ``_``."""
    if not text or not (text[0] == "_" or _is_alphanumeric(text[0])):
        return False
    return all(_is_kept(char) or char in "-." for char in text)


def dataset_name(text: str) -> str:
    """A data set's name made from any text; ``dataset`` where no character is kept."""
    return readable_name(_folded(text)[:DATASET_LENGTH], 4 * DATASET_LENGTH) or "dataset"


def dataset_name_from(url: str) -> str:
    """A data set's name made from a folder or bucket prefix."""
    return dataset_name(url.rstrip("/").rsplit("/", 1)[-1])


def is_dataset_name(text: str) -> bool:
    """Whether it is 1 to 63 kept characters, case-folded and in form C, the first a letter or digit."""
    if not 1 <= len(text) <= DATASET_LENGTH or text != _folded(text):
        return False
    return _is_alphanumeric(text[0]) and all(map(_is_kept, text))


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def _is_kept(char: str) -> bool:
    return char == "_" or (unicodedata.category(char)[0] in "LNM" and not _INVISIBLE.match(char))


def _is_alphanumeric(char: str) -> bool:
    return unicodedata.category(char)[0] in "LN" and not _INVISIBLE.match(char)
