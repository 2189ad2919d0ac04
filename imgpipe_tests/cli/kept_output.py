"""What commands print at 80 columns, kept as text: ``console/<command>.txt``."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

_FOLDER = Path(__file__).parent / "console"
#: Set to write the files anew.
_WRITE = "IMGPIPE_TEST_WRITE_CONSOLE"


def assert_as_kept(name: str, text: str, places: Mapping[Path, str]) -> None:
    """The text is that of ``console/<name>.txt``, but for ``places``, seconds, sizes, scores and spaces at
    ends of lines."""
    for path, shown in places.items():
        text = text.replace(str(path), shown)
    text = re.sub(r"\d+(\.\d+)? s\b", "N s", text)
    text = re.sub(r"[\d,]+ bytes|\d+\.\d{4}\b", "N", text)  # The last digits differ between CPUs.
    found = "".join(f"{line.rstrip()}\n" for line in text.splitlines())
    assert "…" not in found, "cut at 80 columns"
    kept = _FOLDER / f"{name}.txt"
    if os.environ.get(_WRITE):
        kept.write_text(found, encoding="utf-8")
    assert found == kept.read_text(encoding="utf-8"), f"if it is meant: {_WRITE}=1"


def screen(printed: str) -> str:
    """What a terminal shows in the end: lines that were drawn over count as they were drawn last."""
    lines, row = [""], 0
    for part in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|[\n\r]|[^\x1b\n\r]+", printed):
        if part == "\n":
            row += 1
            lines += [""] * (row == len(lines))
        elif part == "\x1b[1A":
            row -= 1
        elif part in ("\r", "\x1b[2K"):
            lines[row] = ""
        elif not part.startswith("\x1b"):
            lines[row] += part
    return "\n".join(lines)
