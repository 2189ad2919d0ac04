"""Rejected results lie apart, whoever rejects them, and come back when the verdict changes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from imgpipe.engines.placing import place_by_verdict
from imgpipe.engines.prune import leftovers
from imgpipe.errors import StoreUnavailable
from imgpipe.records import ImageRow, Status
from imgpipe.review.book import read_decisions, record
from imgpipe.review.decisions import Decision, Verdict, subject_sha256
from imgpipe.storage.memory import MemoryStore
from imgpipe.storage.sealed import SealedShards
from imgpipe.storage.tables import read_table, write_table
from imgpipe_tests.end_to_end.conftest import write_drawing
from imgpipe_tests.review.space import Space

#: No enlargement of a drawing reads 90 dB: every image is rejected by its score.
STRICT = {"quality.thresholds": {"psnr_y_min_db": 90}}
PICTURES = ("matted_images", "upscaled_images")


@pytest.fixture
def space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Space:
    (tmp_path / "source").mkdir()
    monkeypatch.chdir(tmp_path)
    made = Space(str(tmp_path / "source"), str(tmp_path / "output"))
    for number in range(3):
        write_drawing(made.source, f"{number}.png", seed=number)
    return made


def files(space: Space, *folders: str) -> set[str]:
    return {item.key for folder in folders for item in space.stores.output.list(f"{folder}/")}


def check_tables(space: Space) -> None:
    """Every row's files are where the tables say, and nothing else lies in the folders."""
    rows = [row for asset in PICTURES for row in space.rows(asset).values()]
    named = {key for row in rows for key in row.details.get("files", {}).values()}
    assert named == files(space, "matted", "upscaled", "rejected")
    for row in rows:
        if row.output_key:
            data = space.stores.output.read(row.output_key)
            assert hashlib.sha256(data).hexdigest() == row.output_sha256


def decide(space: Space, key: str, verdict: Verdict, asset: str = "quality_reports") -> None:
    row = space.rows(asset)[key]
    scored = space.rows("upscaled_images")[key] if asset == "quality_reports" else None
    shard = "00000" if key in ("0.png", "1.png") else "00001"
    number = len(read_decisions(space.stores.output, "art", asset, shard).of(row.image_id)) + 1
    decision = Decision(
        *("art", asset, shard, row.image_id, number, verdict, "ann", "2026-01-01T00:00:00+00:00"),
        input_sha256=row.input_sha256,
        output_sha256=subject_sha256(row, scored),
    )
    record(space.stores.output, decision)


def test_no_picture_of_a_rejected_image_lies_among_the_good_ones(space: Space) -> None:
    space.run()
    assert len(files(space, "matted")) == len(files(space, "upscaled")) == 3
    space.run(**STRICT)
    assert {row.status for row in space.rows().values()} == {Status.REJECTED}
    assert files(space, "matted", "upscaled") == set()
    assert len(files(space, "rejected/matted", "rejected/upscaled")) == 6
    assert len(files(space, "quality")) == 6
    check_tables(space)
    assert space.run(**STRICT) == 0


def test_they_come_back_with_a_decision_and_with_other_settings(space: Space) -> None:
    space.run(**STRICT)
    decide(space, "0.png", Verdict.ACCEPTED)
    space.run(**STRICT)
    assert space.computed == []
    name = space.rows()["0.png"].image_id
    assert files(space, "matted", "upscaled") == {
        f"matted/art/00000/{name}.png",
        f"upscaled/art/00000/{name}.png",
    }
    check_tables(space)
    space.run()
    assert {asset for asset, _ in space.computed} == {"quality_reports"}
    assert files(space, "rejected") == set()
    check_tables(space)


def test_a_matte_that_a_person_rejects_leaves_with_what_was_made_of_it(space: Space) -> None:
    space.run()
    decide(space, "1.png", Verdict.REJECTED, "matted_images")
    space.run()
    name = space.rows()["1.png"].image_id
    assert files(space, "rejected") == {f"rejected/matted/art/00000/{name}.png"}
    assert f"upscaled/art/00000/{name}.png" not in files(space, "upscaled")
    check_tables(space)
    decide(space, "1.png", Verdict.WITHDRAWN, "matted_images")
    space.run()
    assert space.computed == [("quality_reports", "1.png"), ("upscaled_images", "1.png")]
    assert files(space, "rejected") == set()
    check_tables(space)


def test_prune_finds_rejected_files(space: Space) -> None:
    space.run(**STRICT)
    (Path(space.source) / "2.png").unlink()
    space.run(**STRICT)
    found = {leftover.key for leftover in leftovers(space.stores, SealedShards(space.stores.output, "art"))}
    name = space.rows()["2.png"].image_id
    assert {f"rejected/{folder}/art/00001/{name}.png" for folder in ("matted", "upscaled")} < found


@dataclass
class Dying(MemoryStore):
    """Fails at its n-th write or delete; 0: never."""

    dies_at: int = 0
    calls: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        super().__init__()

    def _count(self) -> None:
        self.calls += 1
        if self.calls == self.dies_at:
            raise StoreUnavailable("killed")

    def write(self, key: str, data: bytes, *, overwrite: bool = False) -> None:
        self._count()
        super().write(key, data, overwrite=overwrite)

    def delete(self, key: str) -> None:
        self._count()
        super().delete(key)


def _upstream(output: MemoryStore) -> Mapping[str, Mapping[str, ImageRow]]:
    return {
        "matted_images": {row.image_id: row for row in read_table(output, "matted_images", "d", "00000")[0]}
    }


@pytest.mark.parametrize("dies_at", range(1, 8))
@pytest.mark.parametrize("rejected", [True, False])
def test_a_crash_loses_no_file_and_leaves_none_behind(dies_at: int, rejected: bool) -> None:
    output = Dying()
    before = "matted/d/00000/" if rejected else "rejected/matted/d/00000/"
    after = "rejected/matted/d/00000/" if rejected else "matted/d/00000/"
    rows = []
    for name in ("a", "b"):
        key = f"{before}{name}.png"
        output.write(key, name.encode())
        rows.append(
            ImageRow(f"{name}.png", name, "e", Status.OK, output_key=key, details={"files": {"matted": key}})
        )
    write_table(output, "matted_images", "d", "00000", rows, meta={"fingerprint": "f"})
    verdicts = [replace(row, status=Status.REJECTED if rejected else Status.OK) for row in rows]
    output.calls, output.dies_at = 0, dies_at
    for _ in range(2):  # The run that dies, and the next one.
        try:
            place_by_verdict(output, "d", "00000", verdicts, _upstream(output))
        except StoreUnavailable:
            table, _ = read_table(output, "matted_images", "d", "00000")
            assert all(output.exists(row.output_key) for row in table)
    table, meta = read_table(output, "matted_images", "d", "00000")
    assert [row.output_key for row in table] == [f"{after}a.png", f"{after}b.png"]
    assert [output.read(row.output_key) for row in table] == [b"a", b"b"]
    assert meta == {"fingerprint": "f"}
    if rejected:
        assert [item.key for item in output.list("matted/")] == []
