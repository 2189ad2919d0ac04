"""The order of urgency and the budget."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from imgpipe.config import Settings, load_settings
from imgpipe.engines.backfill import Candidate, candidates, within_budget
from imgpipe.engines.status import ShardStatus, State
from imgpipe.records import ImageRow, Status
from imgpipe.stages.catalogue import QUALITY
from imgpipe.storage.memory import MemoryStore
from imgpipe.storage.opening import Stores
from imgpipe.storage.tables import write_table

UPSCALED = "upscaled_images"


def status(index: int, state: State, *, images: int = 10, seconds: float | None = None) -> ShardStatus:
    compute = {} if seconds is None else {UPSCALED: (images, seconds)}
    return ShardStatus(
        f"{index:05d}", images, {QUALITY: state}, {}, compute=compute, digest=f"digest {index}"
    )


def failed_table(stores: Stores, shard: str, *errors: tuple[str, int]) -> None:
    rows = [
        ImageRow(f"{number}.png", f"{number}", "e", Status.ERROR, error_class=name, attempts=attempts)
        for number, (name, attempts) in enumerate(errors)
    ]
    write_table(stores.output, QUALITY, "art", shard, rows, meta={})


@pytest.fixture
def stores() -> Stores:
    return Stores(MemoryStore(), MemoryStore())


def ordered(settings: Settings, stores: Stores, statuses: Sequence[ShardStatus]) -> list[Candidate]:
    return list(candidates(settings, stores, statuses, {QUALITY: "f"}, [UPSCALED]))


def test_missing_come_before_stale_before_failed_and_complete_never(stores: Stores) -> None:
    statuses = [
        status(0, State.FAILED),
        status(1, State.STALE),
        status(2, State.COMPLETE),
        status(3, State.MISSING),
        status(4, State.STALE),
        status(5, State.MISSING),
    ]
    failed_table(stores, "00000", ("OutOfMemory", 1))
    newest = ordered(Settings(dataset="art"), stores, statuses)
    assert [int(one.shard) for one in newest] == [5, 3, 4, 1, 0]
    oldest = ordered(load_settings({"dataset": "art", "automation.newest_first": False}), stores, statuses)
    assert [int(one.shard) for one in oldest] == [3, 5, 1, 4, 0]


@pytest.mark.parametrize(
    ("errors", "images"),
    [
        ([("DecodeError", 1)], None),
        ([("OutOfMemory", 3)], None),
        ([("OutOfMemory", 2), ("DecodeError", 1), ("RuntimeError", 1)], 2),
    ],
)
def test_a_failed_shard_counts_where_errors_may_pass(
    stores: Stores, errors: list[tuple[str, int]], images: int | None
) -> None:
    failed_table(stores, "00000", *errors)
    found = ordered(Settings(dataset="art"), stores, [status(0, State.FAILED)])
    assert [one.images for one in found] == ([] if images is None else [images])


def test_time_is_estimated_from_what_other_shards_took(stores: Stores) -> None:
    statuses = [
        status(0, State.COMPLETE, images=10, seconds=20.0),
        status(1, State.COMPLETE, images=30, seconds=20.0),
        status(2, State.MISSING, images=7),
    ]
    (found,) = ordered(Settings(dataset="art"), stores, statuses)
    assert found.gpu_seconds == pytest.approx(7.0)
    (unknown,) = ordered(Settings(dataset="art"), stores, statuses[2:])
    assert unknown.gpu_seconds is None


def test_a_signature_holds_until_manifest_or_code_change(stores: Stores) -> None:
    settings = Settings(dataset="art")

    def signature(digest: str, fingerprint: str) -> str:
        one = ShardStatus("00000", 1, {QUALITY: State.MISSING}, {}, digest=digest)
        (found,) = candidates(settings, stores, [one], {QUALITY: fingerprint}, [])
        return found.signature

    assert signature("a", "f") == signature("a", "f")
    assert len({signature("a", "f"), signature("b", "f"), signature("a", "g")}) == 3


def offered(*seconds: float | None) -> list[Candidate]:
    return [Candidate(f"{n:05d}", State.MISSING, 1, value, "s") for n, value in enumerate(seconds)]


@pytest.mark.parametrize(
    ("seconds", "slots", "left", "taken"),
    [
        ([1, 1, 1], 2, None, 2),
        ([1, 1, 1], 0, None, 0),
        ([40, 40, 40], 9, 100.0, 2),
        ([400, 1], 9, 100.0, 1),  # Larger than a whole day's budget: alone.
        ([1, 400, 1], 9, 100.0, 1),
        ([1, 1], 9, 0.0, 0),
        ([1, 1], 9, -5.0, 0),
        ([None, None], 9, 100.0, 1),  # Nothing measured yet: one goes ahead.
        ([None, None], 9, None, 2),
    ],
)
def test_the_budget(seconds: list[float | None], slots: int, left: float | None, taken: int) -> None:
    chosen = list(within_budget(iter(offered(*seconds)), slots=slots, gpu_seconds=left))
    assert [one.shard for one in chosen] == [f"{number:05d}" for number in range(taken)]
