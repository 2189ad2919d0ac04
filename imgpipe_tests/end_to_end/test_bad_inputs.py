"""A bad input costs its own row, never the run."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from imgpipe.records import Status, count_statuses
from imgpipe_tests.end_to_end.conftest import CLASSICAL, Workspace, run_once, write_drawing

ASSETS = ("raw_images", "matted_images", "upscaled_images", "quality_reports")


def jpeg_bytes(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (64, 64, 3), np.uint8)
    buffer = io.BytesIO()
    PillowImage.fromarray(pixels).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Three good files and three bad ones after a run."""
    folder = tmp_path_factory.mktemp("mixed")
    source = folder / "source"
    for number in range(3):
        write_drawing(source, f"good/{number}.png", seed=number)
    (source / "empty.png").write_bytes(b"")
    (source / "page.png").write_text("<!DOCTYPE html><html><body>404</body></html>")
    data = jpeg_bytes(1)
    (source / "truncated.jpg").write_bytes(data[: len(data) // 2])
    return run_once(folder, 1, *CLASSICAL)


def test_bad_files_are_rows_and_the_rest_is_done(mixed: Workspace) -> None:
    for asset in ASSETS:
        rows = mixed.rows(asset)
        assert count_statuses(rows.values()) == {"n": 6, "ok": 3, "rejected": 0, "error": 3, "skipped": 0}
        for name in ("empty.png", "page.png", "truncated.jpg"):
            row = rows[name]
            assert row.status is Status.ERROR
            assert row.stage_failed == "raw_images"
            assert name in row.error_message, row.error_message
            assert row.error_class in ("DecodeError", "UnsupportedFormat")
    assert "HTML" in mixed.rows()["page.png"].error_message


def test_nothing_is_written_for_a_bad_file(mixed: Workspace) -> None:
    names = [path.name for path in Path(mixed.output).rglob("*") if path.is_file()]
    assert not [name for name in names if name.startswith(("empty", "page", "truncated"))]
    assert not [name for name in names if ".imgpipe-tmp" in name]


def test_good_images_are_the_same_without_their_bad_neighbours(
    mixed: Workspace, workspace: Workspace
) -> None:
    for number in range(3):
        write_drawing(workspace.source, f"good/{number}.png", seed=number)
    code, text = workspace.cli("run", *CLASSICAL)
    assert code == 0, text
    ours, theirs = mixed.rows("upscaled_images"), workspace.rows("upscaled_images")
    for key, row in theirs.items():
        assert ours[key].output_sha256 == row.output_sha256


def test_failed_images_are_named_tried_again_and_counted(mixed: Workspace, workspace: Workspace) -> None:
    mixed.copy_to(workspace)
    write_drawing(workspace.source, "empty.png", seed=8)
    code, text = workspace.cli("run", *CLASSICAL)
    assert code == 1
    assert [name in text for name in ("empty.png", "page.png", "truncated.jpg")] == [False, True, True]
    rows = workspace.rows("raw_images")
    assert rows["empty.png"].status is Status.OK
    assert rows["empty.png"].attempts == 1
    assert rows["page.png"].attempts == 2
    assert {key for _, key in workspace.computed} == {"empty.png", "page.png", "truncated.jpg"}


def test_missing_weights_stop_before_any_work_and_say_what_to_do(workspace: Workspace) -> None:
    write_drawing(workspace.source, "a.png", seed=1)
    code, text = workspace.cli("run", "--set", f"model_dir={workspace.source}/none")
    assert code == 2
    for part in ("isnet-anime.onnx", "https://github.com/", "imgpipe models pull isnet-anime", "classical"):
        assert part in text.replace("\n", ""), text
    assert not Path(workspace.output, "tables").exists()


def test_classical_fallback_is_recorded_where_the_user_looks(workspace: Workspace) -> None:
    import json

    write_drawing(workspace.source, "a.png", seed=1)
    code, text = workspace.cli(
        "run",
        "--set",
        f"model_dir={workspace.source}/none",
        "--set",
        "rembg.fallback=classical",
        "--set",
        "upscale.fallback=classical",
        "--set",
        "upscale.scale=2",
    )
    assert code == 0, text
    for asset, model in (("matted_images", "isnet-anime"), ("upscaled_images", "realesrgan-anime-6b")):
        row = workspace.rows(asset)["a.png"]
        assert row.model is not None
        assert model in row.model.fallback_reason
    row = workspace.rows()["a.png"]
    document = json.loads(Path(workspace.output, row.output_key).read_text())
    assert "realesrgan-anime-6b" in json.dumps(document["model"])
    assert "isnet-anime" in json.dumps(document["matte"])
    assert "models_as_configured" in text
    assert "WARN art-00000" in text


def test_wrong_use_ends_with_2_and_a_lost_source_folder_too(workspace: Workspace) -> None:
    code, text = workspace.cli("run", "--set", "upscale.scal=2")
    assert code == 2
    assert "did you mean 'scale'" in text
    workspace.source = workspace.source + "/nowhere"
    code, text = workspace.cli("run", *CLASSICAL)
    assert code == 2
    assert "nowhere" in text
