"""One run over every hostile file there is, with good ones between: each costs its own row at most."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from imgpipe.records import Status
from imgpipe.storage.links import OUTSIDE
from imgpipe_tests.end_to_end.conftest import CLASSICAL, Workspace, write_drawing
from imgpipe_tests.images.hostile import corpus

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="peak memory is read from /proc"
)
GOOD = 6
LINK = "link.png"
_LONG = "n" * 250 + ".png"

#: The command in a process of its own, which says at the end how much memory it took at most.
_RUN_AND_MEASURE = """
import pathlib, sys
from typer.testing import CliRunner
from imgpipe.cli import app
result = CliRunner().invoke(app, sys.argv[1:])
text = pathlib.Path("/proc/self/status").read_text()
print(result.output, file=sys.stderr)
print(result.exit_code, int(text.split("VmHWM:")[1].split()[0]))
"""


def fill(folder: Path) -> dict[str, bool]:
    """Hostile and good files in turn; name -> whether it must come out well where that is known."""
    expected: dict[str, bool] = {}
    for number, (name, (data, error)) in enumerate(sorted(corpus().items())):
        slug = f"{number:02d}_{re.sub(r'[^a-z0-9]+', '_', name.lower())}.png"
        (folder / slug).write_bytes(data)
        if error is not None:
            expected[slug] = False
    for number in range(GOOD):
        write_drawing(folder, f"{number}5_good.png", seed=number)
        expected[f"{number}5_good.png"] = True
    (folder / "folder.png").mkdir()
    outside = folder.parent / "outside.png"
    outside.write_bytes((folder / "05_good.png").read_bytes())
    (folder / LINK).symlink_to(outside)
    write_drawing(folder, _LONG, seed=90)
    expected[_LONG] = True
    with open(os.fsencode(str(folder)) + b"/\xff\xfe.png", "wb") as file:  # noqa: PTH123
        file.write((folder / "05_good.png").read_bytes())
    return expected


def test_one_run_over_the_hostile_corpus(workspace: Workspace) -> None:
    expected = fill(Path(workspace.source))
    arguments = [
        "run",
        "--source",
        workspace.source,
        "--output",
        workspace.output,
        "--dataset",
        "art",
        *CLASSICAL,
    ]
    done = subprocess.run(
        [sys.executable, "-c", _RUN_AND_MEASURE, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    code, peak_kib = map(int, done.stdout.split())
    assert code == 1, done.stderr[-3000:]
    assert f"{OUTSIDE} (1): {LINK} -> " in " ".join(done.stderr.split()), done.stderr[:3000]
    assert peak_kib < 1_500_000, f"{peak_kib} KiB"

    listed = {path for path in Path(workspace.source).rglob("*.png") if path.name not in ("folder.png", LINK)}
    for asset in ("raw_images", "matted_images", "upscaled_images", "quality_reports"):
        rows = workspace.rows(asset)
        assert len(rows) == len(listed)
        assert {row.status for row in rows.values()} <= {Status.OK, Status.ERROR, Status.REJECTED}
    rows = workspace.rows()
    for name, good in expected.items():
        row = rows[name]
        assert (row.status is Status.OK) is good, (name, row.status, row.error_message, row.reasons)
        if not good:
            assert row.error_class in (
                "DecodeError",
                "UnsupportedFormat",
                "LimitExceeded",
                "ObjectUnreadable",
            )
            assert name in row.error_message
    nothing_is_partial(workspace)


def nothing_is_partial(workspace: Workspace) -> None:
    """Every file of the output belongs to a row that is not an error, and is what that row says."""
    recorded: dict[str, int] = {}
    for asset in ("matted_images", "upscaled_images", "quality_reports"):
        for row in workspace.rows(asset).values():
            if row.stage_failed in ("", asset) and row.status is not Status.ERROR:
                recorded |= dict.fromkeys(row.details["files"].values(), -1)
                recorded[row.output_key] = row.size_bytes
    root = Path(workspace.output)
    written = [
        path.relative_to(root).as_posix()
        for folder in ("matted", "upscaled", "rejected", "quality")
        for path in (root / folder).rglob("*")
        if path.is_file()
    ]
    assert sorted(written) == sorted(recorded)
    for key, size in recorded.items():
        assert size in (-1, (root / key).stat().st_size), key
        if key.endswith(".json"):
            json.loads((root / key).read_text())
