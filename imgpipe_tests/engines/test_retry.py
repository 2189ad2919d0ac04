"""Which failures are tried again, and what ``only failed`` leaves alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pytest

from imgpipe import errors
from imgpipe.config import Settings
from imgpipe.engines.retry import DUE, PERMANENT, Mode, Retry, may_pass
from imgpipe.engines.shard import OUTDATED, Stores, run_shard
from imgpipe.errors import ConfigError, DecodeError, OutOfMemory
from imgpipe.images.encode import encode
from imgpipe.images.image import Image
from imgpipe.records import ImageRow, Status
from imgpipe.settings import IsolationSettings
from imgpipe.stages.chain import steps
from imgpipe.stages.protocol import StageResult
from imgpipe.stages.read import ReadStage
from imgpipe.storage.manifests import plan, seal
from imgpipe.storage.memory import MemoryStore
from imgpipe.storage.tables import read_meta

SETTINGS = Settings(dataset="art", actions=("rembg",), workers=1, isolation=IsolationSettings(mode="none"))
READ, MATTE, _ = steps(SETTINGS)
FAILED = Retry(Mode.FAILED)


@dataclass
class Stage:
    """Fails as ``failures`` says, by the grey level of the picture; rejects those of ``rejected``."""

    fingerprint: str = "stage-1"
    concurrency: int = 1
    failures: Mapping[int, Exception] = field(default_factory=dict)
    rejected: tuple[int, ...] = ()
    seen: list[int] = field(default_factory=list)

    def run(self, inputs: Mapping[str, Image], rows: Mapping[str, ImageRow]) -> StageResult:
        pixels = inputs["source"].pixels
        level = int(pixels[0, 0, 0])
        self.seen.append(level)
        if level in self.failures:
            raise self.failures[level]
        status = Status.REJECTED if level in self.rejected else Status.OK
        reasons = ("too soft",) if level in self.rejected else ()
        opaque = np.full((*pixels.shape[:2], 1), 255, np.uint8)
        return StageResult({"matted": Image(np.dstack([pixels, opaque]))}, status, reasons)


FAILURES = {1: OutOfMemory("no room"), 2: DecodeError("damaged"), 3: RuntimeError("a defect")}


@pytest.fixture
def stores() -> Stores:
    """Six pictures, of which 1..3 failed and 4 was rejected."""
    made = Stores(MemoryStore(), MemoryStore())
    for level in range(6):
        made.source.write(f"{level}.png", encode(Image(np.full((5, 4, 3), level, np.uint8))))
    made.source.write("bad.png", b"no image")
    replan(made)
    run(made, Stage(failures=FAILURES, rejected=(4,)))
    return made


def replan(stores: Stores) -> None:
    seal(plan(stores.source, stores.output, dataset="art", shard_size=100), stores.output)


def run(stores: Stores, stage: Stage, retry: Retry = DUE) -> dict[str, ImageRow]:
    run_shard(READ, ReadStage(SETTINGS.limits), SETTINGS, stores, "00000", retry=retry)
    result = run_shard(MATTE, stage, SETTINGS, stores, "00000", retry=retry)
    return {row.source_key: row for row in result.rows}


def test_errors_that_are_the_images_fault_are_permanent() -> None:
    assert {kind.__name__ for kind in errors.ImageError.__subclasses__()} | {"ImageError"} == PERMANENT


def test_by_default_only_what_may_pass_is_tried_again(stores: Stores) -> None:
    again = Stage(failures=FAILURES)
    rows = run(stores, again)
    assert sorted(again.seen) == [1, 3]
    assert {rows[f"{level}.png"].attempts for level in (1, 3)} == {2}
    assert (rows["2.png"].attempts, rows["2.png"].error_class) == (1, "DecodeError")
    assert (rows["bad.png"].attempts, rows["bad.png"].stage_failed) == (1, "raw_images")


def test_all_tries_every_error_again_and_no_rejected_image(stores: Stores) -> None:
    again = Stage()
    rows = run(stores, again, Retry(Mode.ALL))
    assert sorted(again.seen) == [1, 2, 3]
    assert rows["bad.png"].attempts == 2
    assert rows["4.png"].status is Status.REJECTED


def test_other_code_or_other_bytes_end_permanence(stores: Stores) -> None:
    again = Stage(fingerprint="stage-2")
    run(stores, again)
    assert sorted(again.seen) == list(range(6))
    stores.source.write("bad.png", encode(Image(np.full((5, 4, 3), 7, np.uint8))), overwrite=True)
    replan(stores)
    last = Stage(fingerprint="stage-2")
    assert run(stores, last)["bad.png"].status is Status.OK
    assert last.seen == [7]


def test_only_failed_tries_errors_and_rejected_ones(stores: Stores) -> None:
    again = Stage()
    rows = run(stores, again, FAILED)
    assert sorted(again.seen) == [1, 2, 3, 4]
    assert {row.status for name, row in rows.items() if name != "bad.png"} == {Status.OK}


@pytest.mark.parametrize(
    ("reason", "levels"),
    [("outofmemory", [1]), ("DAMAGED", [2]), ("too soft", [4]), ("e", [1, 2, 3]), ("unheard of", [])],
)
def test_a_reason_chooses_among_them(stores: Stores, reason: str, levels: list[int]) -> None:
    again = Stage()
    run(stores, again, Retry(Mode.FAILED, reason))
    assert sorted(again.seen) == levels


def test_only_failed_leaves_outdated_images_and_the_table_says_so(stores: Stores) -> None:
    again = Stage(fingerprint="stage-2")
    before = {row.source_key: row for row in run_shard(MATTE, Stage(), SETTINGS, stores, "00000").rows}
    assert before["0.png"].status is Status.OK
    run(stores, Stage(fingerprint="stage-1", rejected=(4,)), Retry(Mode.ALL))
    rows = run(stores, again, FAILED)
    assert sorted(again.seen) == [4]
    assert rows["0.png"].stage_hash == before["0.png"].stage_hash
    meta = read_meta(stores.output, "matted_images", "art", "00000")
    assert meta is not None
    assert meta["manifest_digest"] == OUTDATED
    full = Stage(fingerprint="stage-2")
    run(stores, full)
    assert sorted(full.seen) == [0, 1, 2, 3, 5]
    meta = read_meta(stores.output, "matted_images", "art", "00000")
    assert meta is not None
    assert meta["manifest_digest"] != OUTDATED


def test_only_failed_leaves_a_changed_source_to_a_whole_run(stores: Stores) -> None:
    stores.source.write("0.png", encode(Image(np.full((5, 4, 3), 77, np.uint8))), overwrite=True)
    replan(stores)
    again = Stage()
    run(stores, again, FAILED)
    assert 77 not in again.seen
    meta = read_meta(stores.output, "raw_images", "art", "00000")
    assert meta is not None
    assert meta["manifest_digest"] == OUTDATED
    last = Stage()
    run(stores, last)
    assert last.seen == [77]


def test_tags_are_read_back() -> None:
    for retry in (Retry(), Retry(Mode.ALL), Retry(Mode.FAILED, "psnr")):
        assert Retry.from_tags(retry.tags()) == retry
    assert Retry.from_tags({}) == DUE
    with pytest.raises(ConfigError, match="expected due, all, failed"):
        Retry.from_tags({"imgpipe/retry": "some"})
    with pytest.raises(ConfigError, match="with `failed` only"):
        Retry(Mode.ALL, "x")


def test_what_may_pass_ends_with_its_attempts() -> None:
    row = ImageRow("a", "a", "e", Status.ERROR, error_class="OutOfMemory", attempts=2)
    assert may_pass(row, 3)
    assert not may_pass(row, 2)
    assert not may_pass(ImageRow("a", "a", "e", Status.ERROR, error_class="DecodeError"), 3)
    assert not may_pass(ImageRow("a", "a", "e", Status.REJECTED), 3)
