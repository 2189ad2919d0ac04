"""Every file of an image, listed with its kind."""

from __future__ import annotations

import hashlib
from pathlib import Path

from typer.testing import CliRunner

from imgpipe.cli import app
from imgpipe_tests.command_line import imgpipe
from imgpipe_tests.end_to_end.conftest import CLASSICAL, Workspace, write_drawing


def files_of(output: str, image_id: str) -> tuple[int, dict[str, str]]:
    code, said = imgpipe("files", "--output", output, image_id)
    lines = [line.split(maxsplit=2) for line in said.splitlines()]
    return code, {line[0]: line[2] for line in lines if len(line) == 3}


def test_all_kinds_of_files_are_listed_and_exist(workspace: Workspace) -> None:
    write_drawing(workspace.source, "a.png", seed=1)
    code, text = workspace.cli(
        "run",
        *CLASSICAL,
        "--set",
        "actions=[enhance, rembg, upscale]",
        "--set",
        "enhance={min_width: 150, min_height: 100}",
    )
    assert code == 0, text
    row = workspace.rows()["a.png"]
    code, found = files_of(workspace.output, row.image_id)
    assert code == 0
    assert set(found) == {
        "source",
        "source_enhanced",
        "segmentation_feed",
        "matted",
        "upscaled",
        "quality.json",
        "diff.png",
    }
    assert found.pop("source") == "a.png"
    assert all(Path(place).is_file() for place in found.values())
    assert found["source_enhanced"].endswith(f"{row.image_id}/source_enhanced.png")
    scored = workspace.rows("quality_reports")["a.png"]
    assert scored.digests == {
        kind: hashlib.sha256(Path(found[kind]).read_bytes()).hexdigest()
        for kind in ("quality.json", "diff.png")
    }


def test_an_image_is_named_by_its_path_also_without_its_output(workspace: Workspace) -> None:
    """The output is then the last run's."""
    path = write_drawing(workspace.source, "my art/a.png", seed=1)
    assert workspace.cli("run", *CLASSICAL)[0] == 0
    code, found = files_of(workspace.output, "my art/a.png")
    assert (code, found["source"]) == (0, "my art/a.png")
    for arguments in (["files", str(path)], ["status"], ["report"], ["prune"]):
        result = CliRunner().invoke(app, arguments, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        assert result.stderr.startswith("settings of the last run: "), arguments
    assert imgpipe("plan", workspace.source, workspace.output, "--dataset", "other")[0] == 0
    code, _ = files_of(workspace.output, "my art/a.png")
    code, text = imgpipe("files", "my art/a.png")
    said = "my art/a.png: several data sets have it: art, other; choose by --dataset"
    assert (code, said in text) == (2, True), text


def test_an_unknown_image_is_wrong_use(workspace: Workspace) -> None:
    write_drawing(workspace.source, "a.png", seed=1)
    assert workspace.cli("plan", *CLASSICAL)[0] == 0
    code, text = imgpipe("files", "--output", workspace.output, "nobody-0123456789")
    assert (code, "no shard" in text) == (2, True)


def test_another_format_leaves_no_old_file_beside_the_new_one(workspace: Workspace) -> None:
    write_drawing(workspace.source, "a.png", seed=1)
    steps = (*CLASSICAL, "--set", "actions=[enhance, upscale]", "--set", "enhance.min_width=100")
    assert workspace.cli("run", *steps)[0] == 0
    folder = next(Path(workspace.output).rglob("source_enhanced.png")).parent
    assert workspace.cli("run", *steps, "--set", "enhance.save_format_priority=[WEBP]")[0] == 0
    assert sorted(file.name for file in folder.iterdir()) == ["segmentation_feed.png", "source_enhanced.webp"]
