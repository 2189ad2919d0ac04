"""docs/coming-from.md names commands, flags and settings that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

from imgpipe.cli import app
from imgpipe.config import Settings

PAGE = Path(__file__).resolve().parents[2] / "docs" / "coming-from.md"
ROWS = [line.split("|")[2] for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]


def _options(name: str) -> set[str]:
    command = typer.main.get_command(app)
    return {flag for one in command.commands[name].params for flag in one.opts}  # type: ignore[attr-defined]


@pytest.mark.parametrize("cell", ROWS[1:])
def test_what_it_names_is_there(cell: str) -> None:
    for text in re.findall(r"`([^`]+)`", cell):
        command = re.match(r"imgpipe (\w+)", text)
        options = _options(command[1] if command else "run")
        assert set(re.findall(r"(?<!\S)--?[a-z][a-z-]*", text)) <= options, text
        setting = re.fullmatch(r"([a-z_]+)(?:\.([a-z_0-9]+))?(?::.*)?", text)
        if setting and text not in ("webp", "jxl", "jpeg", "device", "workers"):
            section = Settings.model_fields[setting[1]].default
            assert setting[2] in type(section).model_fields, text
