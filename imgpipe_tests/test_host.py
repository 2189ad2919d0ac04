"""Cores and memory that a container leaves, and how many pictures are in flight there."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from weakref import WeakValueDictionary

import numpy as np
import pytest

from imgpipe.engines.local import run_items
from imgpipe.host import forget_peak_memory, memory_left_bytes, peak_memory_bytes, usable_cores
from imgpipe.images.encode import encode
from imgpipe.images.image import Image
from imgpipe.inference.device import available_memory_bytes
from imgpipe.records import ImageRow, Status
from imgpipe.settings import LimitSettings
from imgpipe.stages.protocol import PictureSize, StageResult
from imgpipe.storage.memory import MemoryStore
from imgpipe_tests.engines.test_local import Negative, items

MIB, GIB = 2**20, 2**30


def write(path: Path, text: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n")


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A /proc that says 60 GiB are available; the process is in the cgroup /pod/box."""
    write(tmp_path / "proc/meminfo", f"MemAvailable:  {60 * 1024 * 1024} kB")
    write(tmp_path / "proc/self/cgroup", "0::/pod/box")
    return tmp_path / "proc"


@pytest.fixture
def cgroup(tmp_path: Path) -> Path:
    return tmp_path / "cgroup"


@pytest.fixture(autouse=True)
def sixteen_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(16)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("max 100000", 16),
        ("200000 100000", 2),
        ("150000 100000", 2),
        ("50000 100000", 1),
        ("3200000 100000", 16),
    ],
)
def test_a_quota_bounds_the_cores(text: str, expected: int, proc: Path, cgroup: Path) -> None:
    assert usable_cores(proc=proc, cgroup=cgroup) == 16
    write(cgroup / "pod/box/cpu.max", text)
    assert usable_cores(proc=proc, cgroup=cgroup) == expected


def test_the_tightest_cgroup_counts(proc: Path, cgroup: Path) -> None:
    write(cgroup / "pod/box/cpu.max", "800000 100000")
    write(cgroup / "pod/cpu.max", "300000 100000")
    assert usable_cores(proc=proc, cgroup=cgroup) == 3


def test_in_a_container_the_root_is_its_own(proc: Path, cgroup: Path) -> None:
    write(proc / "self/cgroup", "0::/")
    write(cgroup / "cpu.max", "400000 100000")
    assert usable_cores(proc=proc, cgroup=cgroup) == 4
    # What the host calls it may be what the process is told.
    write(proc / "self/cgroup", "0::/docker/0123456789")
    assert usable_cores(proc=proc, cgroup=cgroup) == 4


@pytest.mark.parametrize(("quota", "expected"), [(-1, 16), (250000, 3), (20000, 1)])
def test_quotas_of_cgroup_v1(quota: int, expected: int, proc: Path, cgroup: Path) -> None:
    write(proc / "self/cgroup", "5:cpu,cpuacct:/job\n4:memory:/other\n0::/")
    write(cgroup / "cpu/job/cpu.cfs_quota_us", quota)
    write(cgroup / "cpu/job/cpu.cfs_period_us", 100000)
    write(cgroup / "cpu/other/cpu.cfs_quota_us", 100000)
    write(cgroup / "cpu/other/cpu.cfs_period_us", 100000)
    assert usable_cores(proc=proc, cgroup=cgroup) == expected


@dataclass
class Counting(Negative):
    """Each picture takes 300 MiB; notes how many are computed at once, and waits for ``expected``."""

    expected: int = 1
    reached: threading.Event = field(default_factory=threading.Event)
    now: int = 0
    most: int = 0

    def needed_bytes(self, inputs: Mapping[str, PictureSize]) -> int:
        return 300 * MIB

    def run(self, inputs: Mapping[str, Image], rows: Mapping[str, ImageRow]) -> StageResult:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
            if self.most >= self.expected:
                self.reached.set()
        self.reached.wait(10)
        time.sleep(0.005)  # One more than expected would come meanwhile.
        with self.lock:
            self.now -= 1
        return StageResult(outputs={"negative": inputs["source"]})


@pytest.mark.parametrize(
    ("cores", "memory", "expected"),
    [
        (16, 60 * GIB, 18),  # the workers: two more than there are cores
        (2, 60 * GIB, 4),
        (16, 4 * GIB, 6),  # half of 4 GiB holds six times 300 MiB
        (2, 4 * GIB, 4),
        (2, 1 * GIB, 1),
    ],
)
def test_pictures_in_flight_follow_the_cgroup(
    cores: int, memory: int, expected: int, proc: Path, cgroup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(cgroup / "pod/cpu.max", f"{cores * 100_000} 100000")
    write(cgroup / "pod/memory.max", memory)
    write(cgroup / "pod/memory.current", 0)
    # Another test's, which the traceback of an error still holds, has that machine's limit.
    monkeypatch.setattr("imgpipe.engines.admission._shared", WeakValueDictionary())
    assert memory_left_bytes(proc=proc, cgroup=cgroup) == memory
    monkeypatch.setattr("imgpipe.engines.local.usable_cores", partial(usable_cores, proc=proc, cgroup=cgroup))
    monkeypatch.setattr(
        "imgpipe.engines.admission.available_memory_bytes",
        partial(available_memory_bytes, proc=proc, cgroup=cgroup),
    )
    store, picture = MemoryStore(), encode(Image(np.zeros((4, 4, 3), np.uint8)))
    work = items(store, 40)
    for number, item in enumerate(work):
        store.write(f"{number}.png", picture, overwrite=True)
        source = replace(item.inputs["source"], limits=LimitSettings(max_memory_bytes="auto"))
        work[number] = replace(item, inputs={"source": source})
    stage = Counting(concurrency=40, expected=expected)
    rows = run_items(stage, "x", work, MemoryStore())
    assert {row.status for row in rows} == {Status.OK}
    assert stage.most == expected


def test_the_peak_is_what_was_used_since_it_was_forgotten() -> None:
    if not forget_peak_memory():
        pytest.skip("this system does not let the peak begin anew")
    before = peak_memory_bytes()
    np.ones(64 * MIB, np.uint8)
    with_64_mib = peak_memory_bytes()
    forget_peak_memory()
    assert with_64_mib - before > 48 * MIB
    assert with_64_mib - peak_memory_bytes() > 48 * MIB


def test_where_the_peak_cannot_be_forgotten_it_is_that_of_the_process(tmp_path: Path) -> None:
    assert not forget_peak_memory(proc=tmp_path)
    assert peak_memory_bytes(proc=tmp_path) > 10 * MIB
