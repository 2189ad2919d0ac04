"""``imgpipe fsck`` on what a run has made, and the run that makes again what it repaired."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from imgpipe_tests.command_line import imgpipe
from imgpipe_tests.end_to_end.conftest import CLASSICAL, Workspace, write_drawing

PLACE = ("--set", "quality.diff=false", *CLASSICAL)


def fsck(workspace: Workspace, *arguments: str) -> tuple[int, str]:
    return imgpipe("fsck", workspace.output, *arguments, columns=250)


@pytest.mark.slow
def test_found_repaired_and_made_again(workspace: Workspace) -> None:
    for number in range(3):
        write_drawing(workspace.source, f"{number}.png", seed=number)
    code, text = workspace.cli("run", *PLACE)
    assert code in (0, 1), text
    assert fsck(workspace, "--deep")[0] == 0
    before = {path: path.read_bytes() for path in Path(workspace.output).rglob("*.png")}
    first, second, *_ = sorted(before)
    first.unlink()
    second.write_bytes(before[second][::-1])
    table = next(Path(workspace.output).glob("tables/upscaled_images/*/*.parquet"))
    table.write_bytes(table.read_bytes()[:-10])
    orphan = first.with_name(f"nobody-{'0' * 20}.png")
    orphan.write_bytes(b"x")

    code, text = fsck(workspace, "--deep", "--json")
    lines = [json.loads(line) for line in text.splitlines()]
    assert (code, {one["kind"] for one in lines[:-1]}) == (1, {"missing", "checksum", "table", "orphan"})
    assert lines[-1]["sums"]["rows"] == 9
    code, text = fsck(workspace, "--deep", "--repair", "--remove-orphans")
    assert (code, "nothing was changed: add --yes" in text, orphan.exists()) == (1, True, True)
    code, text = fsck(workspace, "--deep", "--repair", "--remove-orphans", "--yes")
    assert (code, orphan.exists(), "4 of these done" in text) == (1, False, True), text

    workspace.cli("run", *PLACE)
    assert {path: path.read_bytes() for path in before} == before
    code, text = fsck(workspace, "--deep")
    assert code == 0, text
    assert fsck(workspace, "--deep", "--sizes")[0] == 2
    without = replace(workspace, output=workspace.source)
    for place, arguments in ((workspace, ("--dataset", "typo")), (without, ())):
        code, text = fsck(place, *arguments)
        assert (code, "nothing was compared" in text) == (2, True), text
