"""``run``, ``status`` and ``image`` on a terminal of 80 columns."""

from __future__ import annotations

from pathlib import Path

import pytest

from imgpipe.cli.common import out
from imgpipe_tests.cli.kept_output import assert_as_kept, screen
from imgpipe_tests.command_line import imgpipe
from imgpipe_tests.end_to_end.conftest import write_drawing

QUICK = ("--actions", "upscale", "--model", "lanczos", "--scale", "2")


def test_a_screen_holds_what_was_drawn_last() -> None:
    drawn = "kept\n\x1b[?25la 1/2\nb 0/2\r\x1b[2K\x1b[1A\x1b[2Ka 2/2\nb 2/2\n\x1b[31mend\x1b[0m\n"
    assert screen(drawn) == "kept\na 2/2\nb 2/2\nend\n"


@pytest.mark.slow
def test_bars_stand_full_and_the_step_under_way_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(out, "_force_terminal", True)
    for seed in (1, 2):
        write_drawing(tmp_path / "in", f"{seed}.png", seed)
    (tmp_path / "in" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    known = {tmp_path: "PLACE"}
    for name, *arguments in (
        ("run", "in", "out"),
        ("status", "in", "out"),
        ("image", "in/1.png", "one.png"),
    ):
        _, said = imgpipe(name, *arguments, *QUICK, columns=80)
        assert_as_kept(f"{name}-terminal", screen(said), known)
