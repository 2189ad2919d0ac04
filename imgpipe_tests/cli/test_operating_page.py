"""The commands, options and settings in docs/operating.md are valid."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main
import yaml

from imgpipe.cli import app
from imgpipe.config import load_settings

PAGE = Path(__file__).resolve().parents[2] / "docs" / "operating.md"

pytestmark = pytest.mark.skipif(not PAGE.is_file(), reason="docs/ is not part of this installation")


def blocks(language: str) -> list[str]:
    text = PAGE.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def commands() -> Iterator[list[str]]:
    """The words of every imgpipe command line in the page, without comments."""
    for block in blocks("sh"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == ["imgpipe"]:
                yield words[1:]


def test_every_command_is_understood() -> None:
    root = typer.main.get_command(app)
    seen = 0
    for words in commands():
        command, rest = root, list(words)
        while hasattr(command, "commands"):
            name = rest.pop(0)
            assert name in command.commands, f"imgpipe {' '.join(words)}: no command {name}"
            command = command.commands[name]
        # Parsing only: nothing is run; an unknown option is a usage error.
        command.make_context(" ".join(words), [word for word in rest if word])
        seen += 1
    assert seen >= 20


def test_every_block_of_settings_loads(tmp_path: Path) -> None:
    for number, block in enumerate(blocks("yaml")):
        assert isinstance(yaml.safe_load(block), dict)
        path = tmp_path / f"{number}.yaml"
        path.write_text(block, encoding="utf-8")
        load_settings(config=path)
    assert len(blocks("yaml")) >= 2


def test_every_picture_and_page_is_there() -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", PAGE.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (PAGE.parent / link).exists()]
    assert missing == []
    pictures = [PAGE.parent / link for link in links if link.endswith(".png")]
    assert len(pictures) >= 6
    assert [path.name for path in pictures if path.stat().st_size > 150_000] == []


def test_every_heading_that_is_linked_is_there() -> None:
    text = PAGE.read_text(encoding="utf-8")
    headings = {
        re.sub(r"[^a-z0-9 -]", "", line.lstrip("# ").lower()).replace(" ", "-")
        for line in text.splitlines()
        if line.startswith("#")
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= headings
