"""Images in flight together never need more than the limit; large ones are neither starved nor let in."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from imgpipe.engines.admission import MemoryBudget, needed_bytes
from imgpipe.engines.local import run_items
from imgpipe.engines.stop import STOP, Stopped
from imgpipe.engines.work import WorkItem
from imgpipe.errors import LimitExceeded, OutOfMemory
from imgpipe.images.decoder import InProcessDecoder
from imgpipe.images.encode import encode
from imgpipe.images.image import Image
from imgpipe.inference.admitted_memory import need_extra
from imgpipe.records import ImageRow, Status
from imgpipe.settings import LimitSettings
from imgpipe.stages.protocol import PictureSize, StageResult
from imgpipe.storage.memory import MemoryStore
from imgpipe_tests.engines.test_local import Negative, items
from imgpipe_tests.waiting import until

GIB = 2**30
HERE = dict.fromkeys(("source", "other"), InProcessDecoder())


@dataclass
class Hungry(Negative):
    """Says that an image of level n needs ``needs[n]``, and notes what is held at once."""

    needs: Mapping[int, int] = field(default_factory=dict)
    held: int = 0
    most_held: int = 0

    def needed_bytes(self, inputs: Mapping[str, PictureSize]) -> int:
        return self.needs[inputs["source"].width]

    def run(self, inputs: Mapping[str, Image], rows: Mapping[str, ImageRow]) -> StageResult:
        return self.holding(self.needs[inputs["source"].width], inputs)

    def holding(self, need: int, inputs: Mapping[str, Image]) -> StageResult:
        with self.lock:
            self.held += need
            self.most_held = max(self.most_held, self.held)
        time.sleep(0.005)
        with self.lock:
            self.held -= need
        return StageResult(outputs={"negative": inputs["source"]})


def numbered(count: int) -> list[WorkItem]:
    """Images as wide as their number, which tells the stage which one it is."""
    store = MemoryStore()
    work = items(store, count)
    limits = LimitSettings(max_memory_bytes=GIB)
    for number, item in enumerate(work):
        store.write(f"{number}.png", encode(Image(np.zeros((2, number + 1, 3), np.uint8))), overwrite=True)
        work[number] = replace(item, inputs={"source": replace(item.inputs["source"], limits=limits)})
    return work


def test_images_in_flight_together_stay_below_the_limit() -> None:
    needs = {number + 1: GIB // (1 + number % 4) - GIB // 8 for number in range(24)}
    needs[24] = 2 * GIB
    stage = Hungry(concurrency=8, needs=needs)
    rows = run_items(stage, "x", numbered(24), MemoryStore(), workers=8)
    assert stage.most_held <= GIB
    assert stage.most_held > 0.9 * GIB - GIB // 8
    assert [row.status for row in rows[:-1]] == [Status.OK] * 23
    assert rows[-1].error_class == "LimitExceeded"
    assert "limits.max_memory_bytes" in rows[-1].error_message


@dataclass
class Surprised(Hungry):
    """Finds on its way that every image needs half of the limit more than said; two do at once."""

    runs: list[int] = field(default_factory=list)
    two: threading.Barrier = field(default_factory=lambda: threading.Barrier(2))

    def run(self, inputs: Mapping[str, Image], rows: Mapping[str, ImageRow]) -> StageResult:
        width = inputs["source"].width
        with self.lock:
            self.runs.append(width)
            first = len(self.runs) <= 2
        if first:
            self.two.wait(30)
        need_extra(GIB // 2)
        return self.holding(GIB // 2 + self.needs[width], inputs)


def test_who_finds_that_it_needs_more_waits_for_it_with_nothing_held() -> None:
    needs = dict.fromkeys(range(1, 13), GIB // 3)
    needs[12] = 3 * GIB // 4
    stage = Surprised(concurrency=8, needs=needs)
    rows = run_items(stage, "x", numbered(12), MemoryStore(), workers=8)
    assert [row.status for row in rows[:-1]] == [Status.OK] * 11
    assert GIB // 2 < stage.most_held <= GIB
    assert len(stage.runs) > 12, "some began anew"
    assert rows[-1].error_class == "LimitExceeded", "more than the limit with what it found"


def test_a_large_image_is_not_overtaken_for_ever() -> None:
    budget = MemoryBudget(100)
    order: list[str] = []
    all_wait = threading.Event()

    def hold(name: str, needed: int) -> None:
        with budget.admit(needed, name):
            order.append(name)
            assert all_wait.wait(30)
            time.sleep(0.02)

    with ThreadPoolExecutor(4) as pool:
        pool.submit(hold, "first", 30)
        until(lambda: order == ["first"])
        for waiting, (name, needed) in enumerate((("large", 95), ("small", 60), ("smaller", 50))):
            pool.submit(hold, name, needed)
            until(lambda count=waiting + 1: len(budget._waiting) == count)  # type: ignore[misc]
        all_wait.set()
    assert order == ["first", "large", "small", "smaller"]


def test_who_waits_for_memory_hears_a_stop() -> None:
    budget = MemoryBudget(100)
    with budget.admit(80, "one"):
        STOP.request()
        try:
            with pytest.raises(Stopped), budget.admit(50, "two"):
                pass
        finally:
            STOP.clear()
    with budget.admit(100, "three"):  # The one that gave up holds nothing.
        pass


def test_what_this_machine_lacks_now_is_no_fault_of_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imgpipe.engines.admission.available_memory_bytes", lambda device: 1000)
    budget = MemoryBudget("auto")
    assert budget.limit_bytes == 500
    with pytest.raises(OutOfMemory, match="needs about 501 bytes"), budget.admit(501, "a.png"):
        pass
    with pytest.raises(LimitExceeded), MemoryBudget(500).admit(501, "a.png"):
        pass


def test_the_need_is_known_from_the_header_alone() -> None:
    large = encode(Image(np.zeros((300, 500, 3), np.uint16)))
    limits = {role: LimitSettings() for role in ("source", "other")}
    stage = Hungry(needs={500: 7_000_000})
    assert (
        needed_bytes(stage, {"source": large[:400]}, limits, HERE) == 0
    )  # Cut: its decoder says what is wrong.
    assert needed_bytes(stage, {"source": large}, limits, HERE) == 300 * 500 * 8 + 7_000_000
    # Two roles that share a file share its pixels too.
    assert needed_bytes(stage, {"source": large, "other": large}, limits, HERE) == 300 * 500 * 8 + 7_000_000
    small = {role: LimitSettings(max_pixels=1000) for role in limits}
    assert needed_bytes(stage, {"source": large}, small, HERE) == 0
    assert needed_bytes(Negative(), {"source": large}, limits, HERE) == 300 * 500 * (8 + 64)
