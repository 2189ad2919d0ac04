"""The demo: what it says, and how its drawings end."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from imgpipe.cli import app
from imgpipe.records import Status
from imgpipe_tests.end_to_end.conftest import Workspace

#: Busy behind the figure: more than border colours can tell from it.
REJECTED = {"03_night_city.png", "13_garden_busy.png"}


@pytest.mark.slow
@pytest.mark.usefixtures("instance_home")
def test_all_but_the_busy_drawings_end_well(tmp_path: Path) -> None:
    environment = {"COLUMNS": "200", "IMGPIPE_MODEL_DIR": str(tmp_path / "no weights")}
    done = CliRunner().invoke(app, ["demo", "--output", str(tmp_path / "demo")], env=environment)
    assert done.exit_code == 0, done.output
    assert "upscaling: imgpipe-lite, a network that comes with imgpipe" in done.output
    assert "14 images: 12 ok, 2 rejected" in done.output
    space = Workspace(str(tmp_path / "demo" / "source"), str(tmp_path / "demo" / "results"), {}, "demo")
    rows = space.rows()
    assert {key for key, row in rows.items() if row.status is Status.REJECTED} == REJECTED
    upscaled = [row for row in space.rows("upscaled_images").values() if row.status is Status.OK]
    assert len(upscaled) == 12
    assert {row.model and row.model.name for row in upscaled} == {"imgpipe-lite"}
