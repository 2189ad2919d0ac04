"""The command as a process: exit code, output, and no process left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from imgpipe_tests.end_to_end.conftest import write_drawing

LANCZOS = ("--set", "actions=[upscale]", "--set", "upscale.model=lanczos", "--set", "upscale.scale=2")


def imgpipe(*arguments: str, cwd: Path, code: str = "") -> subprocess.CompletedProcess[str]:
    """``code`` is run in the same interpreter before the command."""
    start = f"import sys; {code or 'pass'}; from imgpipe.cli import main; sys.argv[0] = 'imgpipe'; main()"
    return subprocess.run(
        [sys.executable, "-c", start, *arguments], cwd=cwd, capture_output=True, text=True, timeout=120
    )


def test_what_was_said_arrives_with_the_exit_code(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write_drawing(tmp_path / "in", "a.png", seed=1)
    good = imgpipe("image", "in/a.png", "out.png", *LANCZOS, cwd=tmp_path)
    assert (good.returncode, good.stderr) == (0, "")
    assert (tmp_path / "out.png").is_file()
    wrong = imgpipe("files", "--output", "nowhere", "x", cwd=tmp_path)
    assert wrong.returncode == 2
    assert "nowhere" in wrong.stderr


def test_other_ends_are_made_before_it_leaves(tmp_path: Path) -> None:
    inside = (
        "import atexit, imgpipe.cli as cli; old = cli.app; "
        "cli.app = lambda: (atexit.register(print, 'put away'), old())"
    )
    ended = imgpipe("--help", cwd=tmp_path, code=inside)
    assert (ended.returncode, "put away" in ended.stdout) == (0, True)


def test_a_defect_of_ours_still_shows_its_trace(tmp_path: Path) -> None:
    broken = "import imgpipe.cli as cli; cli.app = lambda: 1 / 0"
    ended = imgpipe("--help", cwd=tmp_path, code=broken)
    assert ended.returncode == 1
    assert "ZeroDivisionError" in ended.stderr


def test_any_exit_code_passes(tmp_path: Path) -> None:
    ending = "import imgpipe.cli as cli; cli.app = lambda: sys.exit(3)"
    assert imgpipe("--help", cwd=tmp_path, code=ending).returncode == 3


@pytest.mark.parametrize("both", [False, True], ids=["stdout", "stderr too"])
def test_a_reader_that_has_gone_is_an_exit_code_of_its_own(tmp_path: Path, both: bool) -> None:
    """``imgpipe models list | head -1``, as a process whose reader closes the pipe before it writes."""
    reader, writer = os.pipe()
    os.close(reader)
    errors = writer if both else subprocess.PIPE
    command = [sys.executable, "-m", "imgpipe", "models", "list"]
    ended = subprocess.run(command, cwd=tmp_path, stdout=writer, stderr=errors, text=True, timeout=120)
    os.close(writer)
    assert ended.returncode == 141
    if not both:
        (said,) = ended.stderr.splitlines()
        assert said.startswith("interrupted by SIGPIPE: ")


def test_output_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "imgpipe", "models", "list"]
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            command, cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, timeout=120
        )
    assert ended.returncode == 3
    assert ended.stderr.splitlines() == [
        "OSError: the output or a temporary file: No space left on device; check the disk"
    ]


def test_closed_output_is_nothing_to_speak_of(tmp_path: Path) -> None:
    start = '"$0" -m imgpipe models list >&-'
    ended = subprocess.run(
        ["sh", "-c", start, sys.executable], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert (ended.returncode, ended.stderr) == (0, "")
