"""``prune`` and ``run --only failed`` on a data set of one's own."""

from __future__ import annotations

from pathlib import Path

import pytest
from dagster import RunsFilter

from imgpipe.engines.retry import Mode, Retry
from imgpipe.launch import open_instance
from imgpipe.records import Status
from imgpipe_tests.end_to_end.conftest import CLASSICAL, Workspace, run_once, write_drawing

QUICK = (*CLASSICAL, "--set", "actions=[upscale]", "--set", "isolation.mode=none")


def outputs(workspace: Workspace, image_id: str) -> list[str]:
    root = Path(workspace.output)
    files = (path.relative_to(root) for path in root.rglob("*") if path.is_file())
    return sorted(str(path) for path in files if image_id in str(path) and path.parts[0] != "reports")


@pytest.fixture(scope="module")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    folder = tmp_path_factory.mktemp("first")
    for number in range(4):
        write_drawing(folder / "source", f"{number}.png", seed=number)
    (folder / "source" / "bad.png").write_bytes(b"no image")
    return run_once(folder, 1, "--shard-size", "3", *QUICK)


@pytest.fixture
def drawn(first_run: Workspace, workspace: Workspace) -> Workspace:
    """A copy of the first run's data set: four good images and a bad one in two shards."""
    first_run.copy_to(workspace)
    return workspace


def test_prune_lists_first_and_removes_when_told(drawn: Workspace) -> None:
    row = drawn.rows()["1.png"]
    made = outputs(drawn, row.image_id)
    assert len(made) >= 2
    code, text = drawn.cli("prune", *QUICK)
    assert (code, "0 files of 0 deleted sources" in text) == (0, True), text
    (Path(drawn.source) / "1.png").unlink()
    drawn.cli("run", "--shard-size", "3", *QUICK)
    assert drawn.rows()["1.png"].status is Status.SKIPPED
    assert outputs(drawn, row.image_id) == made
    code, text = drawn.cli("status", *QUICK)
    assert "1 deleted source: outputs are kept" in text
    code, text = drawn.cli("prune", *QUICK)
    assert (code, "add --yes" in text) == (0, True), text
    assert outputs(drawn, row.image_id) == made
    code, text = drawn.cli("prune", "--yes", *QUICK)
    assert code == 0, text
    assert outputs(drawn, row.image_id) == []
    assert drawn.rows()["1.png"].status is Status.SKIPPED
    others = [other.output_key for other in drawn.rows().values() if other.output_key]
    assert len(others) == 3
    assert all((Path(drawn.output) / key).is_file() for key in others)
    write_drawing(drawn.source, "1.png", seed=1)
    drawn.cli("run", "--shard-size", "3", *QUICK)
    assert drawn.rows()["1.png"].status is Status.OK


def test_prune_spares_a_source_that_is_back(drawn: Workspace) -> None:
    row = drawn.rows()["1.png"]
    data = (Path(drawn.source) / "1.png").read_bytes()
    (Path(drawn.source) / "1.png").unlink()
    drawn.cli("plan", "--shard-size", "3", *QUICK)
    (Path(drawn.source) / "1.png").write_bytes(data)
    code, text = drawn.cli("prune", "--yes", *QUICK)
    assert (code, "0 files" in text) == (0, True), text
    assert outputs(drawn, row.image_id)


def test_only_failed_adds_no_source_and_tries_the_failed_ones(drawn: Workspace) -> None:
    write_drawing(drawn.source, "late.png", seed=9)
    before = drawn.rows()
    code, text = drawn.cli("run", "--only", "failed", *QUICK)
    assert code == 1, text
    assert set(drawn.computed) == {("raw_images", "bad.png")}
    with open_instance() as instance:
        (last, *_) = instance.get_runs(RunsFilter(job_name="shard_job"), limit=1)
    assert Retry.from_tags(last.tags) == Retry(Mode.FAILED)
    after = drawn.rows()
    assert set(after) == set(before)
    assert after["bad.png"].attempts == before["bad.png"].attempts + 1
    code, text = drawn.cli("run", "--only", "failed", "--reason", "unheard of", *QUICK)
    assert "0 of 2 shards to do" in text
    assert drawn.computed == []


def test_a_reason_alone_is_refused(workspace: Workspace) -> None:
    code, text = workspace.cli("run", "--reason", "x", *QUICK)
    assert code == 2
    assert "--only failed" in text
