"""Which failures are tried again, and what ``only failed`` leaves alone."""

from __future__ import annotations

import pytest

from imgpipe import errors
from imgpipe.engines.retry import DUE, PERMANENT, Mode, Retry, may_pass
from imgpipe.engines.shard import run_shard
from imgpipe.errors import ConfigError, DecodeError, OutOfMemory
from imgpipe.records import ImageRow, Status
from imgpipe.stages.read import ReadStage
from imgpipe.storage.memory import MemoryStore
from imgpipe.storage.opening import Stores
from imgpipe.storage.tables import OUTDATED, read_meta
from imgpipe_tests.engines.levels import MATTE, READ, SETTINGS, Cutout, flat, replan

FAILED = Retry(Mode.FAILED)


FAILURES = {1: OutOfMemory("no room"), 2: DecodeError("damaged"), 3: RuntimeError("a defect")}


@pytest.fixture
def stores() -> Stores:
    """Six pictures, of which 1..3 failed and 4 was rejected."""
    made = Stores(MemoryStore(), MemoryStore())
    for level in range(6):
        made.source.write(f"{level}.png", flat(level))
    made.source.write("bad.png", b"no image")
    replan(made)
    run(made, Cutout(failures=FAILURES, rejected=(4,)))
    return made


def run(stores: Stores, stage: Cutout, retry: Retry = DUE) -> dict[str, ImageRow]:
    run_shard(READ, ReadStage(SETTINGS.limits), SETTINGS, stores, "00000", retry=retry)
    result = run_shard(MATTE, stage, SETTINGS, stores, "00000", retry=retry)
    return {row.source_key: row for row in result.rows}


def test_errors_that_are_the_images_fault_are_permanent() -> None:
    assert {kind.__name__ for kind in errors.ImageError.__subclasses__()} | {"ImageError"} == PERMANENT


def test_by_default_only_what_may_pass_is_tried_again(stores: Stores) -> None:
    again = Cutout(failures=FAILURES)
    rows = run(stores, again)
    assert sorted(again.seen) == [1, 3]
    assert {rows[f"{level}.png"].attempts for level in (1, 3)} == {2}
    assert (rows["2.png"].attempts, rows["2.png"].error_class) == (1, "DecodeError")
    assert (rows["bad.png"].attempts, rows["bad.png"].stage_failed) == (1, "raw_images")


def test_all_tries_every_error_again_and_no_rejected_image(stores: Stores) -> None:
    again = Cutout()
    rows = run(stores, again, Retry(Mode.ALL))
    assert sorted(again.seen) == [1, 2, 3]
    assert rows["bad.png"].attempts == 2
    assert rows["4.png"].status is Status.REJECTED


def test_other_code_or_other_bytes_end_permanence(stores: Stores) -> None:
    again = Cutout(fingerprint="cutout-2")
    run(stores, again)
    assert sorted(again.seen) == list(range(6))
    stores.source.write("bad.png", flat(7), overwrite=True)
    replan(stores)
    last = Cutout(fingerprint="cutout-2")
    assert run(stores, last)["bad.png"].status is Status.OK
    assert last.seen == [7]


def test_only_failed_tries_errors_and_rejected_ones(stores: Stores) -> None:
    again = Cutout()
    rows = run(stores, again, FAILED)
    assert sorted(again.seen) == [1, 2, 3, 4]
    assert {row.status for name, row in rows.items() if name != "bad.png"} == {Status.OK}


@pytest.mark.parametrize(
    ("reason", "levels"),
    [("outofmemory", [1]), ("DAMAGED", [2]), ("too soft", [4]), ("e", [1, 2, 3]), ("unheard of", [])],
)
def test_a_reason_chooses_among_them(stores: Stores, reason: str, levels: list[int]) -> None:
    again = Cutout()
    run(stores, again, Retry(Mode.FAILED, reason))
    assert sorted(again.seen) == levels


def test_only_failed_leaves_outdated_images_and_the_table_says_so(stores: Stores) -> None:
    again = Cutout(fingerprint="cutout-2")
    before = {row.source_key: row for row in run_shard(MATTE, Cutout(), SETTINGS, stores, "00000").rows}
    assert before["0.png"].status is Status.OK
    run(stores, Cutout(fingerprint="cutout-1", rejected=(4,)), Retry(Mode.ALL))
    rows = run(stores, again, FAILED)
    assert sorted(again.seen) == [4]
    assert rows["0.png"].stage_hash == before["0.png"].stage_hash
    meta = read_meta(stores.output, "matted_images", "art", "00000")
    assert meta is not None
    assert meta["manifest_digest"] == OUTDATED
    full = Cutout(fingerprint="cutout-2")
    run(stores, full)
    assert sorted(full.seen) == [0, 1, 2, 3, 5]
    meta = read_meta(stores.output, "matted_images", "art", "00000")
    assert meta is not None
    assert meta["manifest_digest"] != OUTDATED


def test_only_failed_leaves_a_changed_source_to_a_whole_run(stores: Stores) -> None:
    stores.source.write("0.png", flat(77), overwrite=True)
    replan(stores)
    again = Cutout()
    run(stores, again, FAILED)
    assert 77 not in again.seen
    meta = read_meta(stores.output, "raw_images", "art", "00000")
    assert meta is not None
    assert meta["manifest_digest"] == OUTDATED
    last = Cutout()
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
