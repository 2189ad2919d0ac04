"""The local engine: one row per item, in order, bounded, and nobody's fault stops the others."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import cast

import numpy as np
import pytest

from imgpipe.engines.local import run_items
from imgpipe.engines.stop import STOP, Stopped
from imgpipe.engines.work import ObjectRef, WorkItem
from imgpipe.errors import ModelError, ObjectChanged, StoreUnavailable
from imgpipe.images.decode import decode
from imgpipe.images.encode import encode
from imgpipe.images.image import Image
from imgpipe.records import ImageRow, Status
from imgpipe.settings import LimitSettings
from imgpipe.stages.protocol import Stage, StageResult
from imgpipe.storage.memory import MemoryStore

LIMITS = LimitSettings()


@dataclass
class Negative:
    """Inverts the picture; raises what a test asks for, and watches how many compute at once."""

    concurrency: int = 1
    failures: Mapping[str, Exception] = field(default_factory=dict)
    seconds: float = 0.0
    fingerprint: str = "negative"
    computing: int = 0
    most_computing: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, inputs: Mapping[str, Image], rows: Mapping[str, ImageRow]) -> StageResult:
        image = inputs["source"]
        with self.lock:
            self.computing += 1
            self.most_computing = max(self.most_computing, self.computing)
        time.sleep(self.seconds)
        with self.lock:
            self.computing -= 1
        name = str(int(image.pixels[0, 0, 0]))
        if name in self.failures:
            raise self.failures[name]
        return StageResult(
            outputs={"negative": replace(image, pixels=255 - image.pixels)}, metrics={"level": 1.0}
        )


def items(store: MemoryStore, count: int) -> list[WorkItem]:
    """Flat pictures of level 0, 1, 2, ... so that each is known by its first pixel."""
    made = []
    for level in range(count):
        store.write(f"{level}.png", encode(Image(np.full((4, 5, 3), level, np.uint8))), overwrite=True)
        made.append(
            WorkItem(
                base=ImageRow(f"{level}.png", f"id{level}", "", Status.OK, attempts=1),
                inputs={"source": ObjectRef(store, f"{level}.png", LIMITS)},
                rows={},
                key_of=lambda kind, ending, level=level: f"out/{level}.{kind}",  # type: ignore[misc]
                stage_hash_of=lambda digests, _: "h:" + digests["source"][:8],
            )
        )
    return made


def test_threads_of_pools_are_shared_by_what_is_computed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []
    monkeypatch.setattr("imgpipe.engines.local.bound_pools", told.append)
    for count in (1, 2, 9):
        run_items(Negative(), "negatives", items(MemoryStore(), count), MemoryStore(), workers=4)
    assert told == [1, 2, 4]


def test_every_item_gets_its_row_in_order_with_its_file() -> None:
    store, output = MemoryStore(), MemoryStore()
    rows = run_items(Negative(), "negatives", items(store, 20), output, workers=4)
    assert [row.image_id for row in rows] == [f"id{level}" for level in range(20)]
    for level, row in enumerate(rows):
        assert row.status is Status.OK
        data = output.read(row.output_key)
        assert (decode(data, name="x", limits=LIMITS).pixels == 255 - level).all()
        assert (row.width, row.height, row.bit_depth, row.size_bytes) == (5, 4, 8, len(data))
        assert {"read", "decode", "compute", "encode", "write"} <= set(row.seconds)
        assert row.stage_hash == "h:" + row.input_sha256[:8]


def test_one_images_fault_is_its_own_row() -> None:
    store, output = MemoryStore(), MemoryStore()
    work = items(store, 6)
    store.write("3.png", b"no picture", overwrite=True)
    store.delete("4.png")
    stage = Negative(failures={"1": ValueError("a defect of ours")})
    rows = run_items(stage, "negatives", work, output, workers=3)
    found = {row.image_id: (row.status.value, row.error_class) for row in rows}
    assert found == {
        "id0": ("ok", ""),
        "id1": ("error", "ValueError"),
        "id2": ("ok", ""),
        "id3": ("error", "UnsupportedFormat"),
        "id4": ("error", "ObjectMissing"),
        "id5": ("ok", ""),
    }
    assert rows[1].error_message == "a defect of ours"
    assert {row.stage_failed for row in rows if row.status is Status.ERROR} == {"negatives"}
    assert sorted(item.key for item in output.list()) == [f"out/{n}.negative" for n in (0, 2, 5)]


@pytest.mark.parametrize("error", [ModelError("no network"), StoreUnavailable("no store")])
def test_what_is_nobodys_image_stops_the_run(error: Exception) -> None:
    store = MemoryStore()
    stage = Negative(failures={"2": error})
    with pytest.raises(type(error), match=str(error)):
        run_items(stage, "negatives", items(store, 50), MemoryStore(), workers=2)


@pytest.mark.parametrize("concurrency", [1, 3])
def test_no_more_compute_at_once_than_the_stage_allows(concurrency: int) -> None:
    stage = Negative(concurrency=concurrency, seconds=0.02)
    run_items(stage, "negatives", items(MemoryStore(), 12), MemoryStore(), workers=6)
    assert stage.most_computing == concurrency


def test_nothing_to_compute_asks_the_stage_nothing() -> None:
    assert run_items(cast(Stage, None), "negatives", [], MemoryStore()) == []


def test_a_source_that_is_not_what_its_row_describes_is_refused() -> None:
    store = MemoryStore()
    (item,) = items(store, 1)
    wrong = replace(item, inputs={"source": replace(item.inputs["source"], sha256="0" * 64)})
    (row,) = run_items(Negative(), "negatives", [wrong], MemoryStore())
    assert (row.status, row.error_class) == (Status.ERROR, ObjectChanged.__name__)
    assert "0.png" in row.error_message


def test_a_source_over_the_size_limit_is_refused_before_it_is_read() -> None:
    class Unreadable(MemoryStore):
        def read(self, key: str, *, etag: str | None = None) -> bytes:
            raise AssertionError("read although it is too large")

    ref = ObjectRef(Unreadable(), "big.png", LimitSettings(max_bytes=10), size_bytes=11)
    item = replace(items(MemoryStore(), 1)[0], inputs={"source": ref})
    (row,) = run_items(Negative(), "negatives", [item], MemoryStore())
    assert row.error_class == "LimitExceeded"
    assert "limits.max_bytes" in row.error_message


def test_a_picture_that_two_roles_share_is_read_once() -> None:
    reads: list[str] = []

    class Counting(MemoryStore):
        def read(self, key: str, *, etag: str | None = None) -> bytes:
            reads.append(key)
            return super().read(key, etag=etag)

    store = Counting()
    (item,) = items(store, 1)
    ref = item.inputs["source"]
    (row,) = run_items(
        Negative(), "negatives", [replace(item, inputs={"source": ref, "again": ref})], MemoryStore()
    )
    assert row.status is Status.OK
    assert reads == ["0.png"]


def test_rows_are_announced_as_they_finish() -> None:
    heard: list[str] = []
    run_items(
        Negative(),
        "negatives",
        items(MemoryStore(), 5),
        MemoryStore(),
        on_row=lambda r: heard.append(r.image_id),
    )
    assert sorted(heard) == [f"id{n}" for n in range(5)]


@pytest.fixture
def asked_to_stop() -> Iterator[Callable[[], None]]:
    """Asks this process's work to stop."""
    yield STOP.request
    STOP.clear()


def test_a_stop_keeps_what_is_done_and_starts_nothing_more(asked_to_stop: Callable[[], None]) -> None:
    store, output, heard = MemoryStore(), MemoryStore(), []

    def hear(row: ImageRow) -> None:
        heard.append(row.image_id)
        if len(heard) == 3:
            asked_to_stop()

    with pytest.raises(Stopped):
        run_items(Negative(seconds=0.02), "negatives", items(store, 50), output, workers=4, on_row=hear)
    assert 3 <= len(heard) <= 3 + 4, heard
    written = {f"id{item.key.split('/')[1].split('.')[0]}" for item in output.list()}
    assert written == set(heard)


def test_a_stop_waits_for_an_image_in_flight_for_a_moment_only(
    asked_to_stop: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgpipe.engines.local.GRACE_SECONDS", 0.1)
    stage = Negative(seconds=3.0)
    threading.Timer(0.3, asked_to_stop).start()
    before = time.monotonic()
    with pytest.raises(Stopped):
        run_items(stage, "negatives", items(MemoryStore(), 5), MemoryStore(), workers=2)
    assert time.monotonic() - before < 2.0


def test_rows_finished_while_an_error_stops_the_run_are_heard() -> None:
    stage = Negative(concurrency=4, seconds=0.05, failures={"0": StoreUnavailable("no store")})
    heard: list[str] = []
    with pytest.raises(StoreUnavailable):
        run_items(
            stage,
            "negatives",
            items(MemoryStore(), 40),
            MemoryStore(),
            workers=4,
            on_row=lambda row: heard.append(row.image_id),
        )
    assert {"id1", "id2", "id3"} <= set(heard)
