"""What a shard's run leaves in Dagster's database, and what that is for a whole data set.

    python benchmarks/dagster_load.py --quick                  3 shards
    python benchmarks/dagster_load.py                          40 shards, about a minute

Runs real shards of one picture (Lanczos, all assets and checks) on an instance whose event log is one SQLite
database, as it is one in PostgreSQL, and counts rows and bytes of every table before and after. A shard of
5,000 images writes the same events: rows follow shards, not images. The rest is arithmetic: a run's rows and
bytes times the runs of a backfill of 10^8 images, and rows per second with 8, 64 and 512 GPUs at the given
speed. How long the pages of the UI and a sensor's tick take is measured while the database grows.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import machine
import numpy as np
from dagster import AssetKey, DagsterInstance

from imgpipe.assets.graph import SHARD_JOB, build_definitions
from imgpipe.config import Settings, load_settings
from imgpipe.images.encode import encode
from imgpipe.images.image import Image
from imgpipe.partitions import add_partitions
from imgpipe.stages.catalogue import QUALITY
from imgpipe.storage import keys
from imgpipe.storage.manifests import plan, seal
from imgpipe.storage.opening import open_stores

IMAGES, SHARD_SIZE, GPUS = 10**8, 5000, (8, 64, 512)
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
_CONFIG = """
telemetry: {{enabled: false}}
event_log_storage:
  module: dagster._core.storage.event_log
  class: ConsolidatedSqliteEventLogStorage
  config: {{base_dir: {folder}}}
"""


def sizes(folder: Path) -> Mapping[str, tuple[int, int]]:
    """(rows, bytes with indexes) of every table of the instance's databases."""
    found: Counter[str] = Counter()
    taken: Counter[str] = Counter()
    for path in folder.rglob("*.db"):
        with sqlite3.connect(path) as database:
            named = dict(database.execute("SELECT name, tbl_name FROM sqlite_master").fetchall())
            for name in {table for table in named.values() if not table.startswith("sqlite_")}:
                found[name] += database.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]  # noqa: S608
            for name, size in database.execute("SELECT name, sum(pgsize) FROM dbstat GROUP BY name"):
                taken[named.get(name, name)] += size
    return {name: (found[name], taken[name]) for name in found}


def run_shards(settings: Settings, instance: DagsterInstance, count: int) -> Iterator[float]:
    """Seconds of each shard's run."""
    job = build_definitions(settings).resolve_job_def(SHARD_JOB)
    shards = [f"{number:05}" for number in range(count)]
    add_partitions(settings, instance, shards)
    for shard in shards:
        start = time.perf_counter()
        partition = keys.partition_key(settings.dataset, shard)
        job.execute_in_process(instance=instance, partition_key=partition, run_config=_QUIET)
        yield time.perf_counter() - start


def queries(instance: DagsterInstance) -> dict[str, float]:
    """Seconds of what the UI and the daemon ask again and again."""
    asked: dict[str, Callable[[], object]] = {
        "materialized partitions of an asset": lambda: instance.get_materialized_partitions(
            AssetKey(QUALITY)
        ),
        "the last 25 runs": lambda: instance.get_runs(limit=25),
        "latest materialization": lambda: instance.get_latest_materialization_event(AssetKey(QUALITY)),
    }
    found = {}
    for name, ask in asked.items():
        start = time.perf_counter()
        ask()
        found[name] = time.perf_counter() - start
    return found


def whole_data_set(
    per_run: Mapping[str, tuple[float, float]], images_per_gpu_second: float
) -> dict[str, Any]:
    """The arithmetic: one run a shard of 10^8 images."""
    runs = IMAGES // SHARD_SIZE
    rows, size = (sum(values[place] for values in per_run.values()) for place in (0, 1))
    speeds = {}
    for gpus in GPUS:
        seconds = IMAGES / (gpus * images_per_gpu_second)
        speeds[str(gpus)] = {"days": seconds / 86400, "rows_per_second": rows * runs / seconds}
    return {
        "runs": runs,
        "rows": rows * runs,
        "bytes": size * runs,
        "images_per_gpu_second": images_per_gpu_second,
        "by_gpus": speeds,
    }


def measure(folder: Path, count: int, images_per_gpu_second: float) -> dict[str, Any]:
    """Everything, on an instance in ``folder``."""
    source = folder / "source"
    source.mkdir()
    for number in range(count):
        picture = np.full((64, 64, 3), number % 256, np.uint8)
        (source / f"{number:05}.png").write_bytes(encode(Image(picture)))
    given: dict[str, Any] = {"source": str(source), "output": str(folder / "output"), "dataset": "load"}
    more = {"actions": ["upscale"], "upscale.model": "lanczos", "shard_size": 1, "isolation.mode": "none"}
    settings = load_settings({**given, **more})
    stores = open_stores(settings)
    seal(plan(stores.source, stores.output, dataset="load", shard_size=1), stores.output)
    home = folder / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text(_CONFIG.format(folder=home / "history"), encoding="utf-8")
    os.environ["DAGSTER_HOME"] = str(home)
    with DagsterInstance.from_config(str(home)) as instance:
        seconds, asked = [], []
        before: Mapping[str, tuple[int, int]] = {}
        for number, taken in enumerate(run_shards(settings, instance, count), start=1):
            seconds.append(taken)
            if number == 1:
                before = sizes(home)  # The first run fills tables that stay as they are.
            if number in (1, count // 2, count):
                asked.append({"runs": number, **queries(instance)})
        after = sizes(home)
    runs = count - 1
    per_run = {
        name: tuple((after[name][place] - before.get(name, (0, 0))[place]) / runs for place in (0, 1))
        for name in after
        if after[name][0] > before.get(name, (0, 0))[0]
    }
    return {
        "runs": count,
        "seconds_per_run": sum(seconds) / count,
        "rows_and_bytes_per_run": per_run,
        "queries_seconds": asked,
        "whole_data_set": whole_data_set(per_run, images_per_gpu_second),  # type: ignore[arg-type]
    }


def main() -> int:
    shape = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=shape)
    parser.add_argument("--quick", action="store_true", help="3 shards")
    parser.add_argument("--count", type=int, default=40, help="shards")
    speed = "images per second of the whole chain on one GPU"
    parser.add_argument("--images-per-gpu-second", type=float, default=1.5, help=speed)
    parser.add_argument("--output", type=Path, help="JSON file; default: in benchmarks/results")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), 3 if options.quick else options.count, options.images_per_gpu_second)
    for name, (rows, size) in sorted(found["rows_and_bytes_per_run"].items(), key=lambda one: -one[1][1]):
        print(f"{name:28} {rows:8.1f} rows {size:10,.0f} bytes a run")
    for asked in found["queries_seconds"]:
        print(asked)
    print(found["whole_data_set"])
    where = machine.slug(machine.cpu_name())
    machine.keep({"machine": machine.describe(), **found}, "dagster_load", where, options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
