"""Planning, arrivals, partitions and status of large data sets: seconds and peak memory of each part.

    python benchmarks/scale.py --quick           20,000 objects in 20 shards
    python benchmarks/scale.py                   1,000,000 objects in 1,000 shards, some minutes

The source is made up as it is listed (no files); the output is a real folder, the Dagster instance a real
one on SQLite. Each part runs in a process of its own, whose peak memory counts. Parts:

    plan, replan     `imgpipe plan` of a new data set, and again where nothing changed
    ticks            the arrival sensor until it has seen everything, on an empty output, through Dagster:
                     partitions are added, runs requested (and not started)
    quiet_ticks      the same round again where nothing changed
    changed_ticks    and with one source in a thousand changed, spread over all shards
    status           `imgpipe status` with four tables per shard
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from machine import describe, keep, slug

from imgpipe.host import peak_memory_bytes

PARTS = ("plan", "replan", "ticks", "quiet_ticks", "changed_ticks", "status")
ROOT = Path(__file__).resolve().parent.parent
#: The command, and what it took.
_STATUS = (
    "import sys; from imgpipe import host; from imgpipe.cli import app; "
    "code = app(sys.argv[1:], standalone_mode=False); print(host.peak_memory_bytes()); sys.exit(code)"
)
TARGETS = {"tick_seconds": 60.0, "peak_mb": 500.0, "status_seconds": 5.0}


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    if options.part:
        print(json.dumps(_measure(options.part, options)))
        return 0
    results: dict[str, Any] = {
        "machine": describe(),
        "objects": options.objects,
        "shard_size": options.shard_size,
        "objects_per_tick": options.objects_per_tick,
        "targets": TARGETS,
    }
    with tempfile.TemporaryDirectory(prefix="imgpipe-scale-") as folder:
        for part in PARTS:
            results[part] = _in_a_process(part, options, folder)
            print(f"{part:14} " + ", ".join(f"{name} {value}" for name, value in results[part].items()))
    keep(results, "scale", slug(options.objects), options.output)
    return 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--objects", type=int, default=1_000_000)
    parser.add_argument("--shard-size", type=int, default=1000)
    parser.add_argument("--objects-per-tick", type=int, default=100_000)
    parser.add_argument("--quick", action="store_true", help="20,000 objects, 5,000 per tick")
    parser.add_argument("--output", type=Path, help="JSON file for the results")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.quick:
        options.objects, options.objects_per_tick = 20_000, 5000
    return options


def _in_a_process(part: str, options: argparse.Namespace, folder: str) -> dict[str, Any]:
    command = [sys.executable, __file__, "--part", part, "--folder", folder]
    for name in ("objects", "shard_size", "objects_per_tick"):
        command += [f"--{name.replace('_', '-')}", str(getattr(options, name))]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{Path(__file__).parent}"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(f"{part}: {done.stderr}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def _measure(part: str, options: argparse.Namespace) -> dict[str, Any]:
    result = MEASURES[part](options)
    return {"peak_mb": round(peak_memory_bytes() / 1e6, 1), **result}


class MadeUpSource:
    """Keys of a usual length in order, made as they are listed; every ``changed_every``-th has a new etag."""

    url = "memory://made-up"

    def __init__(self, count: int, changed_every: int = 0) -> None:
        self._count, self._changed = count, changed_every

    def list(
        self, prefix: str = "", *, start_after: str | None = None, left_out: Any = None
    ) -> Iterator[Any]:
        from imgpipe.records import SourceObject

        first = 0 if start_after is None else _number(start_after) + 1
        for number in range(first, self._count):
            key = f"collection/2026/{number // 1000:06d}/illustration-{number:09d}.png"
            version = "b" if self._changed and number % self._changed == 0 else "a"
            etag = hashlib.md5(f"{version}{number}".encode(), usedforsecurity=False).hexdigest()
            yield SourceObject(key, 1_000_000 + number, etag)

    def exists(self, key: str) -> bool:
        return _number(key) < self._count


def _number(key: str) -> int:
    return int(key.rsplit("-", 1)[1].removesuffix(".png"))


def _settings(options: argparse.Namespace, output: Path) -> Any:
    from imgpipe.config import load_settings

    return load_settings(
        {
            "source": str(options.folder / "source"),
            "output": str(output),
            "dataset": "scale",
            "shard_size": options.shard_size,
            "rembg.model": "classical",
            "upscale.model": "lanczos",
            "automation.objects_per_tick": options.objects_per_tick,
            "automation.max_wait_seconds": 0,
        }
    )


def _plan(options: argparse.Namespace) -> dict[str, Any]:
    from imgpipe.storage.local import LocalStore
    from imgpipe.storage.manifests import plan, seal

    folder = options.folder / "planned"
    folder.mkdir(exist_ok=True)
    output: Any = LocalStore(folder)
    source: Any = MadeUpSource(options.objects)
    start = time.perf_counter()
    made = plan(source, output, dataset="scale", shard_size=options.shard_size)
    planned = time.perf_counter()
    seal(made, output)
    return {
        "plan_seconds": round(planned - start, 2),
        "seal_seconds": round(time.perf_counter() - planned, 2),
        "new": made.new,
        "unchanged": made.unchanged,
        "shards": len(made.shards),
    }


def _ticks(changed_every: int = 0) -> Callable[[argparse.Namespace], dict[str, Any]]:
    def measure(options: argparse.Namespace) -> dict[str, Any]:
        from dagster import DagsterInstance

        home = options.folder / "dagster"
        home.mkdir(exist_ok=True)
        (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        folder = options.folder / "arrived"
        folder.mkdir(exist_ok=True)
        (options.folder / "source").mkdir(exist_ok=True)
        with DagsterInstance.from_config(str(home)) as instance:
            return _round(_settings(options, folder), instance, MadeUpSource(options.objects, changed_every))

    return measure


def _round(settings: Any, instance: Any, source: Any) -> dict[str, Any]:
    """Ticks of the sensor, as the daemon makes them, until every source was seen."""
    from dagster import build_sensor_context

    from imgpipe.automation.arrival import build_arrival_sensor
    from imgpipe.resources.stores import ImageStores
    from imgpipe.storage.opening import Stores, open_store

    class Resource(ImageStores):
        def open(self, settings: Any) -> Stores:
            return Stores(source, open_store(settings.output, settings.s3))

    from dagster_aws.s3 import S3Resource

    sensor = build_arrival_sensor(settings)
    cursor: str | None = None
    ticks: list[float] = []
    adding, requested = 0.0, 0
    while cursor is None or json.loads(cursor)["position"] is not None:
        with build_sensor_context(
            instance=instance, cursor=cursor, resources={"stores": Resource(s3=S3Resource())}
        ) as context:
            start = time.perf_counter()
            result: Any = sensor(context)
            ticks.append(time.perf_counter() - start)
        start = time.perf_counter()
        for request in result.dynamic_partitions_requests or ():
            instance.add_dynamic_partitions(request.partitions_def_name, list(request.partition_keys))
        adding += time.perf_counter() - start
        requested += len(result.run_requests or ())
        cursor = result.cursor
    return {
        "ticks": len(ticks),
        "tick_seconds_max": round(max(ticks), 2),
        "tick_seconds_all": round(sum(ticks), 2),
        "runs_requested": requested,
        "add_partitions_seconds": round(adding, 2),
        "partitions": len(instance.get_dynamic_partitions("shards_scale")),
        "cursor_bytes": len(cursor),
    }


def _status(options: argparse.Namespace) -> dict[str, Any]:
    folder = options.folder / "arrived"
    settings = _settings(options, folder)
    _make_tables(settings, folder)
    command = [sys.executable, "-c", _STATUS, "status"]
    for name in ("source", "output", "dataset"):
        command += [f"--{name}", getattr(settings, name)]
    command += ["--set", "rembg.model=classical", "--set", "upscale.model=lanczos"]
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    shown, _, peak = done.stdout.strip().rpartition("\n")
    return {
        "status_seconds": round(seconds, 2),
        "complete": shown.count("complete"),
        "peak_mb": round(int(peak) / 1e6, 1),
    }


def _make_tables(settings: Any, folder: Path) -> None:
    """Four complete tables per shard: the rows of one, with every shard's own footer."""
    import pyarrow.parquet as pq

    from imgpipe.engines.shard import combine_digests
    from imgpipe.engines.status import fingerprints
    from imgpipe.records import ImageRow, Status, count_statuses
    from imgpipe.stages.chain import steps
    from imgpipe.storage import keys
    from imgpipe.storage.local import LocalStore
    from imgpipe.storage.parquet import to_parquet
    from imgpipe.storage.sealed import SealedShards
    from imgpipe.storage.source_record import record_source
    from imgpipe.storage.tables import write_table

    output = LocalStore(folder)
    record_source(output, settings.dataset, settings.source, moved=True)
    wanted = fingerprints(settings)
    for step in steps(settings):
        upstream = combine_digests([f"rows of {name}" for name in step.upstream])
        rows = [_row(ImageRow, Status, step.asset, number) for number in range(settings.shard_size)]
        for number, facts in enumerate(SealedShards(output, "scale").facts.values()):
            meta = {
                "manifest_digest": facts.digest,
                "fingerprint": wanted[step.asset],
                "upstream_digest": upstream,
                "rows_digest": f"rows of {step.asset}",
                "review_digest": "",
                "counts": json.dumps(count_statuses(rows)),
                "compute": json.dumps({"images": len(rows), "seconds": 1.0}),
            }
            if number == 0:
                write_table(output, step.asset, "scale", facts.shard, rows, meta=meta)
                table = pq.read_table(folder / keys.table_key(step.asset, "scale", facts.shard))
                footer = table.schema.metadata
                continue
            own = {**footer, **{name.encode(): value.encode() for name, value in meta.items()}}
            key = keys.table_key(step.asset, "scale", facts.shard)
            output.write(key, to_parquet(table.replace_schema_metadata(own)))


def _row(row: Any, status: Any, asset: str, number: int) -> Any:
    digest = hashlib.sha256(f"{asset}{number}".encode()).hexdigest()
    name = f"illustration-{number:09d}-{digest[:20]}"
    details: dict[str, Any] = {}
    if asset == "quality_reports":
        details["checks"] = [
            {"name": f"check_{index}", "value": number / 7 + index, "threshold": 1.0, "passed": True}
            for index in range(18)
        ]
    return row(
        source_key=f"collection/2026/000000/illustration-{number:09d}.png",
        image_id=name,
        etag=digest[:32],
        status=status.OK,
        attempts=1,
        input_sha256=digest,
        output_sha256=digest[::-1],
        stage_hash=digest,
        output_key="",  # No files: `status` would look for them.
        width=1024 + number,
        height=1024,
        bit_depth=8,
        format="PNG",
        size_bytes=number,
        seconds={"read": 0.01 + number / 1e6, "compute": number / 1e3},
        metrics={"psnr_y": 30 + number / 1e3, "ssim_y": 0.9 + number / 1e5},
        details=details,
    )


MEASURES: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "plan": _plan,
    "replan": _plan,
    "ticks": _ticks(),
    "quiet_ticks": _ticks(),
    "changed_ticks": _ticks(changed_every=1000),
    "status": _status,
}

if __name__ == "__main__":
    sys.exit(main())
