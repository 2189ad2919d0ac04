"""The demo: what it says, and how its drawings end."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from imgpipe.cli import app
from imgpipe.cli.common import out
from imgpipe.records import Status
from imgpipe_tests.cli.kept_output import assert_as_kept, screen
from imgpipe_tests.end_to_end.conftest import Workspace

#: Busy behind the figure: more than border colours can tell from it.
REJECTED = {"03_night_city.png", "13_garden_busy.png"}


@pytest.mark.slow
@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.usefixtures("instance_home")
def test_all_but_the_busy_drawings_end_well(
    tmp_path: Path, terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Into a file and on a terminal; scores differ by the last digit between CPUs."""
    monkeypatch.setattr(out, "_force_terminal", terminal)
    environment = {"COLUMNS": "80", "IMGPIPE_MODEL_DIR": "/no-weights"}
    done = CliRunner().invoke(app, ["demo", "--output", str(tmp_path / "demo")], env=environment)
    assert done.exit_code == 0, done.output
    said = re.sub(r"(?<![\d.])\d+\.\d+(?![\d.])", "N", screen(done.output))
    places = {tmp_path: "PLACE", Path(os.environ["DAGSTER_HOME"]): "INSTANCE"}
    assert_as_kept("demo-whole-terminal" if terminal else "demo-whole", said, places)
    space = Workspace(str(tmp_path / "demo" / "source"), str(tmp_path / "demo" / "results"), {}, "demo")
    rows = space.rows()
    assert {key for key, row in rows.items() if row.status is Status.REJECTED} == REJECTED
    upscaled = [row for row in space.rows("upscaled_images").values() if row.status is Status.OK]
    assert len(upscaled) == 12
    assert {row.model and row.model.name for row in upscaled} == {"imgpipe-lite"}
