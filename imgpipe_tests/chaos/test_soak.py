"""20,000 small images through one process: memory and file handles stay, rows add up."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from imgpipe.images.encode import encode
from imgpipe.records import Status
from imgpipe.stages.catalogue import QUALITY
from imgpipe.storage.local import LocalStore
from imgpipe.storage.manifests import list_shards
from imgpipe.storage.tables import read_table
from imgpipe_tests.chaos.outcome import faults_of
from imgpipe_tests.end_to_end.conftest import flat_drawing

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(7200)]

IMAGES = int(os.environ.get("IMGPIPE_TEST_SOAK_IMAGES", "20000"))


def resident_bytes(pid: int) -> int:
    """Of a process and its children: the command starts worker processes for decoding."""
    total = 0
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            facts = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        except OSError:
            continue
        if pid in (int(facts["Pid"]), int(facts["PPid"])):
            total += 1024 * int(facts.get("VmRSS", "0 kB").split()[0])
    return total


def test_memory_and_handles_stay(tmp_path: Path) -> None:
    source, output = tmp_path / "source", tmp_path / "output"
    source.mkdir()
    kinds = [encode(flat_drawing(seed, 48, 40)) for seed in range(50)]
    for number in range(IMAGES):
        (source / f"{number:05}.png").write_bytes(kinds[number % len(kinds)])
    arguments = [
        *("--source", str(source), "--output", str(output), "--dataset", "art", "--shard-size", "500"),
        *("--set", "actions=[upscale]", "--set", "upscale.model=lanczos", "--set", "upscale.scale=2"),
        *("--set", "quality.diff=false"),
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "imgpipe", "run", *arguments],
        env={**os.environ, "DAGSTER_HOME": str(tmp_path / "dagster")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    samples: list[tuple[int, int, int]] = []  # tables, resident bytes, handles
    tables = output / "tables" / QUALITY / "art"
    begun = time.monotonic()
    while process.poll() is None:
        time.sleep(2)
        try:
            handles = len(os.listdir(f"/proc/{process.pid}/fd"))  # noqa: PTH208
        except OSError:
            continue
        done = len(list(tables.glob("*.parquet"))) if tables.is_dir() else 0
        samples.append((done, resident_bytes(process.pid), handles))
    minutes = (time.monotonic() - begun) / 60
    _, err = process.communicate()
    assert process.returncode in (0, 1), err

    shards = list_shards(LocalStore(output), "art")
    count = len(shards)
    quarters = [
        [sample for sample in samples if number * count / 4 <= sample[0] < (number + 1) * count / 4]
        for number in range(4)
    ]
    memory = [statistics.median(one[1] for one in quarter) / 2**20 for quarter in quarters]
    handles_ = [max(one[2] for one in quarter) for quarter in quarters]
    print(f"\n{IMAGES} images, {minutes:.1f} minutes; by quarter: MiB {memory}, most handles {handles_}")

    rows = [row for shard in shards for row in read_table(LocalStore(output), QUALITY, "art", shard)[0]]
    assert len(rows) == len({row.source_key for row in rows}) == IMAGES
    assert {row.status for row in rows} <= {Status.OK, Status.REJECTED}
    assert faults_of(LocalStore(output)) == []
    assert memory[3] <= 1.05 * memory[1]
    assert handles_[3] <= handles_[1] + 2
