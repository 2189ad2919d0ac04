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
    """The text is that of ``console/<name>.txt``, but for ``places``, seconds and spaces at ends of lines."""
    for path, shown in places.items():
        text = text.replace(str(path), shown)
    text = re.sub(r"\d+(\.\d+)? s\b", "N s", text)
    found = "".join(f"{line.rstrip()}\n" for line in text.splitlines())
    assert "…" not in found, "cut at 80 columns"
    kept = _FOLDER / f"{name}.txt"
    if os.environ.get(_WRITE):
        kept.write_text(found, encoding="utf-8")
    assert found == kept.read_text(encoding="utf-8"), f"if it is meant: {_WRITE}=1"
