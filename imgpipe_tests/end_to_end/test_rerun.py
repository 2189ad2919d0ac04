"""What is done stays done; what changed, and only that, is done again."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow.parquet as pq
import pytest

from imgpipe.cli.signals import Interrupted
from imgpipe.records import Status
from imgpipe.report.build import build_report
from imgpipe.storage import keys
from imgpipe.storage.lease import REPORT, Lease, hold
from imgpipe.storage.store import ImageStore
from imgpipe_tests.end_to_end.conftest import CLASSICAL, Workspace, run_once, write_drawing

ASSETS = ("raw_images", "matted_images", "upscaled_images", "quality_reports")


@pytest.fixture(scope="module")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Two shards of three and two images."""
    folder = tmp_path_factory.mktemp("first")
    for number in range(5):
        write_drawing(folder / "source", f"{number}.png", seed=number)
    return run_once(folder, 0, "--shard-size", "3", *CLASSICAL)


@pytest.fixture
def drawn(first_run: Workspace, workspace: Workspace) -> Workspace:
    """A copy of the first run's data set."""
    first_run.copy_to(workspace)
    return workspace


def files_of(workspace: Workspace) -> dict[str, tuple[int, bytes]]:
    root = Path(workspace.output)
    return {
        str(path.relative_to(root)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in root.rglob("*")
        if path.is_file() and "reports" not in path.parts
    }


def test_first_run_computes_every_image_once_per_asset(first_run: Workspace) -> None:
    expected = {(asset, f"{number}.png") for asset in ASSETS for number in range(5)}
    assert set(first_run.computed) == expected
    assert len(first_run.computed) == len(expected)
    for asset in ASSETS:
        rows = first_run.rows(asset)
        assert {row.status for row in rows.values()} == {Status.OK}
        assert {row.attempts for row in rows.values()} == {1}


def test_second_run_computes_and_writes_nothing(drawn: Workspace) -> None:
    before = files_of(drawn)
    code, text = drawn.cli("run", "--shard-size", "3", *CLASSICAL)
    assert code == 0, text
    assert drawn.computed == []
    assert "0 of 2 shards to do" in text
    assert files_of(drawn) == before


def test_a_report_that_was_interrupted_is_made_by_the_next_run(
    drawn: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = Path(drawn.output, "reports", "art", "images.parquet")
    write_drawing(drawn.source, "5.png", seed=5)
    with monkeypatch.context() as patched:
        stopped = mock.Mock(side_effect=Interrupted(signal.SIGINT))
        patched.setattr("imgpipe.launch.Launcher.run_report", stopped)
        assert drawn.cli("run", "--shard-size", "3", *CLASSICAL)[0] == 130
    assert len(pq.read_table(page)) == 5
    code, text = drawn.cli("run", "--shard-size", "3", *CLASSICAL)
    assert code == 0, text
    assert "0 of 3 shards to do" in text
    assert len(pq.read_table(page)) == 6
    made = page.stat().st_mtime_ns
    drawn.cli("run", "--shard-size", "3", *CLASSICAL)
    assert page.stat().st_mtime_ns == made


def test_a_report_that_another_run_has_made_meanwhile_is_not_made_again(
    drawn: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_drawing(drawn.source, "5.png", seed=5)
    page = Path(drawn.output, "reports", "art", "images.parquet")
    made = []

    @contextmanager
    def waiting(store: ImageStore, dataset: str, name: str) -> Iterator[Lease]:
        if name == REPORT:
            monkeypatch.setattr("imgpipe.cli.run.hold", hold)
            assert drawn.cli("report", *CLASSICAL)[0] == 0
            made.append(page.stat().st_mtime_ns)
        with hold(store, dataset, name) as lease:
            yield lease

    monkeypatch.setattr("imgpipe.cli.run.hold", waiting)
    code, text = drawn.cli("run", "--shard-size", "3", *CLASSICAL)
    assert (code, "made by another run" in text) == (0, True), text
    assert made == [page.stat().st_mtime_ns]
    assert len(pq.read_table(page)) == 6


def test_a_report_is_made_under_its_lease(drawn: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever makes it: the command, a schedule, a person in the UI."""
    held = []

    def listening(*arguments: Any, **options: Any) -> Any:
        held.append(list(drawn.stores.output.list(keys.lease_prefix("art", REPORT))))
        return build_report(*arguments, **options)

    monkeypatch.setattr("imgpipe.report.build.build_report", listening)
    assert drawn.cli("report", *CLASSICAL)[0] == 0
    (leases,) = held
    assert leases


def test_one_changed_source_is_the_only_one_redone(drawn: Workspace) -> None:
    before = drawn.rows()
    pictures = {key: value for key, value in files_of(drawn).items() if key.endswith((".png", ".json"))}
    write_drawing(drawn.source, "4.png", seed=99)
    code, text = drawn.cli("run", "--shard-size", "3", *CLASSICAL)
    assert code == 0, text
    assert sorted(drawn.computed) == sorted((asset, "4.png") for asset in ASSETS)
    after = drawn.rows()
    assert {key for key in after if after[key] != before[key]} == {"4.png"}
    changed = {key for key, value in files_of(drawn).items() if key in pictures and pictures[key] != value}
    image_id = after["4.png"].image_id
    assert changed
    assert all(image_id in key for key in changed)


def test_changed_settings_redo_the_stage_and_what_follows(drawn: Workspace) -> None:
    code, text = drawn.cli("run", "--shard-size", "3", *CLASSICAL, "--set", "upscale.scale=3")
    assert code == 0, text
    assert {asset for asset, _ in drawn.computed} == {"upscaled_images", "quality_reports"}
    assert len(drawn.computed) == 10


def test_a_lost_output_is_made_again(drawn: Workspace) -> None:
    row = drawn.rows("upscaled_images")["1.png"]
    (Path(drawn.output) / row.output_key).unlink()
    table = next((Path(drawn.output) / "tables" / "upscaled_images").rglob("00000.parquet"))
    table.unlink()
    code, text = drawn.cli("run", "--shard-size", "3", *CLASSICAL)
    assert code == 0, text
    assert (Path(drawn.output) / row.output_key).is_file()
    assert drawn.rows("upscaled_images")["1.png"].output_sha256 == row.output_sha256


def test_new_sources_go_into_new_shards_and_deleted_ones_are_skipped(drawn: Workspace) -> None:
    write_drawing(drawn.source, "late/0.png", seed=50)
    (Path(drawn.source) / "0.png").unlink()
    kept = drawn.rows("upscaled_images")["0.png"].output_key
    code, text = drawn.cli("run", "--shard-size", "3", *CLASSICAL)
    assert code == 0, text
    assert {key for _, key in drawn.computed} == {"late/0.png"}
    rows = drawn.rows()
    assert rows["0.png"].status is Status.SKIPPED
    assert (Path(drawn.output) / kept).is_file()
    assert len(rows) == 6


def test_status_tells_complete_stale_and_missing(drawn: Workspace) -> None:
    code, text = drawn.cli("status", *CLASSICAL)
    assert code == 0
    assert text.count("complete") == 2, text
    code, text = drawn.cli("status", *CLASSICAL, "--set", "upscale.scale=3")
    assert (text.count("upscaled_images stale"), text.count("matted_images stale")) == (2, 0), text
    write_drawing(drawn.source, "z.png", seed=7)
    code, text = drawn.cli("plan", *CLASSICAL)
    assert "1 new" in text
    code, text = drawn.cli("status", *CLASSICAL)
    assert (text.count("complete"), text.count("quality_reports missing")) == (2, 1), text


def test_failed_images_alone_load_nothing(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr("imgpipe.cli.run.warm_up", asked.append)
    write_drawing(workspace.source, "a.png", seed=1)
    Path(workspace.source, "bad.png").write_bytes(b"no image")
    assert workspace.cli("run", *CLASSICAL)[0] == 1
    assert len(asked) == 1
    assert workspace.cli("run", *CLASSICAL)[0] == 1
    assert len(asked) == 1
