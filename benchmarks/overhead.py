"""What Dagster and storage cost: a shard of pictures through a stage that does nothing.

    python benchmarks/overhead.py --quick                     12 pictures of 64x64, some seconds
    python benchmarks/overhead.py                             256 pictures of 512x512, a minute
    python benchmarks/overhead.py --profile                   and where the time goes, function by function
    python benchmarks/overhead.py --engines FRAMES MODEL --count 200
        instead: `imgpipe run` with local against ray, pieces of the pictures in FRAMES through an upscaler,
        of each of --sizes

The stage that does nothing takes a picture and hands 1,024 bytes back; the decoder hands out the same picture
for every file. So what is left is everything around the pixels: the run, its events and checks, reading the
sources, digests, keys, one atomically written file and one row per picture, and the tables. It goes through
the project's own assets and engine, on an instance with SQLite and a folder as store.

Beside it the classical upscaler (Lanczos, 4x) on the same pictures, decoded beforehand, as many at once as
the engine would take: the strictest measure, since decoding, encoding and writing are left out of it. The
goal is below 5% of that. Results are printed and kept as JSON, one file per machine.
"""

from __future__ import annotations

import argparse
import cProfile
import itertools
import os
import pstats
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import machine
import numpy as np
import PIL.Image
from dagster import AssetKey, DagsterInstance, Definitions

from imgpipe.assets.graph import SHARD_JOB, build_definitions
from imgpipe.config import Settings, load_settings
from imgpipe.engines.shard import ShardResult, run_shard
from imgpipe.images.decoder import InProcessDecoder
from imgpipe.images.encode import encode
from imgpipe.images.image import Image
from imgpipe.partitions import shard_partitions
from imgpipe.records import ImageRow
from imgpipe.stages.build import build_stage
from imgpipe.stages.catalogue import QUALITY, RAW, UPSCALED
from imgpipe.stages.chain import Step, steps
from imgpipe.stages.protocol import StageResult
from imgpipe.storage import keys
from imgpipe.storage.manifests import plan, seal
from imgpipe.storage.opening import Stores, open_store
from imgpipe.storage.tables import read_table, write_table

TARGET_SHARE = 0.05
DATASET, SHARD = "overhead", "00000"
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
_numbers = itertools.count()


class NoOpStage:
    """Hands out the same few bytes for every picture; a new one is never up to date, so all is redone."""

    concurrency = os.cpu_count() or 1

    def __init__(self, step: Step) -> None:
        self.fingerprint = f"no-op {next(_numbers)}"
        self._outputs = {"noop.bin": bytes(1024)} if step.action.folder else {}

    def run(self, inputs: Mapping[str, Image], rows: Mapping[str, ImageRow]) -> StageResult:
        return StageResult(outputs=self._outputs)


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    if options.engines:
        results = _compare_engines(options)
        where = machine.slug(machine.cpu_name(), os.cpu_count(), "cores")
        machine.keep(results, "overhead-ray", where, options.output)
        return 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings, stores = _sealed_shard(folder, options)
        step = next(step for step in steps(settings) if step.asset == UPSCALED)
        raw = next(step for step in steps(settings) if step.asset == RAW)
        run_shard(raw, build_stage(raw, settings), settings, stores, SHARD)
        classical = _classical(settings, stores, step, options)
        with _pixels_cost_nothing(settings, stores), _instance(folder, settings) as instance:
            definitions = build_definitions(settings)
            seconds = {
                "engine": machine.median_seconds(lambda: _engine(settings, stores, step), options.repeat),
                "dagster": machine.median_seconds(
                    lambda: _dagster(definitions, instance, UPSCALED), options.repeat
                ),
                "shard_job": machine.median_seconds(
                    lambda: _dagster(definitions, instance, None), options.repeat
                ),
            }
            if options.profile:
                _profile(definitions, instance)
        tables = _tables(stores, settings, options.repeat)
    results = _results(options, settings, seconds, classical, tables)
    _print(results)
    machine.keep(
        results, "overhead", machine.slug(machine.cpu_name(), os.cpu_count(), "cores"), options.output
    )
    return 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--count", type=int, default=256, help="pictures in the shard")
    parser.add_argument("--size", type=int, default=512, help="edge of every picture, px")
    parser.add_argument("--repeat", type=int, default=5, help="turns; the median counts")
    parser.add_argument("--profile", action="store_true", help="print the costliest functions of a turn")
    parser.add_argument("--engines", nargs=2, metavar=("FRAMES", "MODEL"), help="local against ray")
    parser.add_argument("--sizes", nargs="+", default=["96x96", "320x240", "640x480"], help="of the pieces")
    parser.add_argument("--quick", action="store_true", help="12 pictures of 64x64, one turn")
    parser.add_argument("--output", type=Path, help="JSON file; default: benchmarks/results/")
    options = parser.parse_args(arguments)
    if options.quick:
        options.count, options.size, options.repeat = 12, 64, 1
    return options


# ---------------------------------------------------------------- the shard


def _sealed_shard(folder: Path, options: argparse.Namespace) -> tuple[Settings, Stores]:
    source = folder / "source"
    source.mkdir()
    for number in range(options.count):
        (source / f"{number:04d}.png").write_bytes(encode(_picture(options.size, number)))
    settings = load_settings(
        {
            "source": str(source),
            "output": str(folder / "output"),
            "dataset": DATASET,
            "shard_size": options.count,
            "actions": ["upscale"],
            "upscale.model": "lanczos",
            "isolation.mode": "none",
            "quality.diff": False,
        }
    )
    stores = Stores(
        open_store(settings.source, settings.s3), open_store(settings.output, settings.s3, create=True)
    )
    seal(plan(stores.source, stores.output, dataset=DATASET, shard_size=options.count), stores.output)
    return settings, stores


def _picture(edge: int, seed: int) -> Image:
    """Seeded soft shapes with flat areas, 8-bit RGB."""
    phase = np.random.default_rng(seed).uniform(0, 6, 3)
    y, x = np.mgrid[:edge, :edge] / edge * 12
    waves = [np.sin(x + phase[i]) * np.cos(y * (1 + i / 3)) for i in range(3)]
    return Image((np.round((0.5 + 0.4 * np.stack(waves, axis=-1)) * 12) * 21).astype(np.uint8))


@contextmanager
def _pixels_cost_nothing(settings: Settings, stores: Stores) -> Iterator[None]:
    """Every stage is the one that does nothing, every decoded file the same picture."""
    picture = _picture(16, 0)

    class Decoder(InProcessDecoder):
        def decode(self, data: bytes, **_: Any) -> Image:
            return picture

    def no_op(step: Step, settings: Settings) -> NoOpStage:
        return NoOpStage(step)

    def decoder(*_: Any) -> Decoder:
        return Decoder()

    with (
        mock.patch("imgpipe.assets.images.build_stage", no_op),
        mock.patch("imgpipe.engines.local.source_decoder", decoder),
        mock.patch("imgpipe.images.decode.decode", Decoder().decode),
    ):
        yield


@contextmanager
def _instance(folder: Path, settings: Settings) -> Iterator[DagsterInstance]:
    home = folder / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n", encoding="utf-8")
    with DagsterInstance.from_config(str(home)) as instance:
        name = shard_partitions(settings).name
        instance.add_dynamic_partitions(str(name), [keys.partition_key(DATASET, SHARD)])
        yield instance


# ---------------------------------------------------------------- what is measured


def _engine(settings: Settings, stores: Stores, step: Step) -> ShardResult:
    """The shard without Dagster: plan, read, write, rows, table."""
    return run_shard(step, NoOpStage(step), settings, stores, SHARD)


def _dagster(definitions: Definitions, instance: DagsterInstance, asset: str | None) -> None:
    """One asset and its checks, or the whole shard job, as `imgpipe run` executes them."""
    if asset is None:
        job = definitions.resolve_job_def(SHARD_JOB)
    else:
        job = definitions.resolve_implicit_global_asset_job_def().get_subset(
            asset_selection={AssetKey(asset)}
        )
    result = job.execute_in_process(
        instance=instance, partition_key=keys.partition_key(DATASET, SHARD), run_config=_QUIET
    )
    assert result.success


def _classical(
    settings: Settings, stores: Stores, step: Step, options: argparse.Namespace
) -> dict[str, float]:
    """Seconds of the enlargement alone, and of the whole stage with decoding, encoding and writing."""
    stage = build_stage(step, settings)
    pictures = [_picture(options.size, number) for number in range(options.count)]
    rows = {row.image_id: row for row in read_table(stores.output, RAW, DATASET, SHARD)[0]}
    upstream = {RAW: next(iter(rows.values()))}
    stage.run({"source": pictures[0]}, upstream)
    begin = time.perf_counter()
    with ThreadPoolExecutor(stage.concurrency) as pool:
        for _ in pool.map(lambda picture: stage.run({"source": picture}, upstream).status, pictures):
            pass
    alone = time.perf_counter() - begin
    return {"enlarging": alone, "stage": run_shard(step, stage, settings, stores, SHARD).wall_seconds}


def _tables(stores: Stores, settings: Settings, repeat: int) -> dict[str, float]:
    """A table of the shard's rows read and written once."""
    rows, _ = read_table(stores.output, UPSCALED, DATASET, SHARD)
    place = (stores.output, "spare_images", DATASET, SHARD)
    return {
        "write_table": machine.median_seconds(lambda: write_table(*place, rows, meta={}), repeat),
        "read_table": machine.median_seconds(lambda: read_table(*place), repeat),
    }


def _profile(definitions: Definitions, instance: DagsterInstance) -> None:
    """Functions by their cumulated time in the main thread, where Dagster, planning and tables are."""
    profiler = cProfile.Profile()
    profiler.runcall(_dagster, definitions, instance, UPSCALED)
    pstats.Stats(profiler).sort_stats("cumulative").print_stats(60)


# ---------------------------------------------------------------- local against ray

ENGINES: dict[str, list[str]] = {
    "local": ["engine=local"],
    "ray, 1 worker of all cores": ["engine=ray"],
    "ray, 2 workers": ["engine=ray", f"ray.num_cpus={max(1, (os.cpu_count() or 1) // 2)}"],
}


def _compare_engines(options: argparse.Namespace) -> dict[str, Any]:
    """Whole runs of the command, to their exit: seconds of every engine and size, the engines in turn, every
    other time from the last one to the first."""
    frames, model = options.engines
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    with tempfile.TemporaryDirectory() as name:
        for size in options.sizes:
            source = Path(name) / size
            width, height = map(int, size.split("x"))
            _cut(Path(frames), source, width, height, options.count)
            for turn in range(options.repeat):
                for engine in list(ENGINES)[:: -1 if turn % 2 else 1]:
                    place = Path(name) / f"{size} {turn} {engine}"
                    done = _run(source, place, [f"upscale.model={model}", *ENGINES[engine]])
                    found.setdefault(size, {}).setdefault(engine, []).append(done)
                    print(size, engine, done, flush=True)
            _print_engines(found[size])
    described = machine.describe(load=os.getloadavg()[0])
    return {"machine": described, "pictures": options.count, "engines": found}


def _print_engines(found: dict[str, list[dict[str, Any]]]) -> None:
    """Medians, and what they are more than those of the local engine."""
    for kind in ("wall", "cpu"):
        seconds = {engine: statistics.median(one[kind] for one in runs) for engine, runs in found.items()}
        for engine, taken in seconds.items():
            print(f"  {engine:<28}{kind:<6}{taken:9.1f} s  {taken / seconds['local'] - 1:+7.1%}")


def _cut(frames: Path, folder: Path, width: int, height: int, count: int) -> None:
    """Pieces of pictures at places drawn with a seed."""
    folder.mkdir()
    pictures = [PIL.Image.open(path).convert("RGB") for path in sorted(frames.glob("*.png"))]
    drawn = np.random.default_rng(0)
    for number in range(count):
        whole = pictures[number % len(pictures)]
        x, y = (int(drawn.integers(0, extent + 1)) for extent in (whole.width - width, whole.height - height))
        whole.crop((x, y, x + width, y + height)).save(folder / f"{number:04}.png")


def _run(source: Path, place: Path, given: list[str]) -> dict[str, Any]:
    """Wall seconds from table to table, the first one's from the start, those of the whole process, and the
    CPU seconds of it and all that it started."""
    sets = [f"dataset={DATASET}", "actions=[upscale]", "shard_size=10000", *given]
    command = [sys.executable, "-m", "imgpipe", "run", str(source), str(place)]
    environment = {**os.environ, "DAGSTER_HOME": f"{place} dagster"}
    begin, last = time.perf_counter(), time.time()
    with subprocess.Popen(
        [*command, *(word for value in sets for word in ("--set", value))],
        env=environment,
        stdout=subprocess.DEVNULL,
    ) as process:
        used: dict[int, float] = {}
        while process.poll() is None:
            used |= _cpu_seconds_below(process.pid)
            time.sleep(0.1)
    wall = time.perf_counter() - begin
    assert process.returncode in (0, 1), process.returncode  # 1: pictures were rejected.
    seconds = {}
    for asset in (RAW, UPSCALED, QUALITY):
        written = (place / keys.table_key(asset, DATASET, SHARD)).stat().st_mtime
        seconds[asset], last = round(written - last, 2), written
    return {**seconds, "wall": round(wall, 2), "cpu": round(sum(used.values()), 2)}


def _cpu_seconds_below(root: int) -> dict[int, float]:
    """Of a process and its descendants, by /proc/PID/stat (proc(5))."""
    parents: dict[int, int] = {}
    seconds: dict[int, float] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text(errors="replace").rpartition(")")[2].split()
        except OSError:  # It has ended meanwhile.
            continue
        pid = int(path.parent.name)
        parents[pid] = int(fields[1])
        seconds[pid] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def below(pid: int) -> bool:
        return pid == root or (pid in parents and below(parents[pid]))

    return {pid: used for pid, used in seconds.items() if below(pid)}


# ---------------------------------------------------------------- what is said


def _results(
    options: argparse.Namespace,
    settings: Settings,
    seconds: dict[str, float],
    classical: dict[str, float],
    tables: dict[str, float],
) -> dict[str, Any]:
    share = seconds["dagster"] / classical["enlarging"]
    return {
        "machine": machine.describe(),
        "shard": {
            "pictures": options.count,
            "size": f"{options.size}x{options.size}",
            "scale": settings.upscale.scale,
        },
        "overhead_seconds": {
            "one asset with its checks": seconds["dagster"],
            "of that the engine and storage": seconds["engine"],
            "of that Dagster": seconds["dagster"] - seconds["engine"],
            "whole shard job (three assets, all checks)": seconds["shard_job"],
            **{name.replace("_", " "): value for name, value in tables.items()},
        },
        "classical_seconds": {
            "enlarging alone": classical["enlarging"],
            "with decoding, encoding and writing": classical["stage"],
        },
        "share_of_enlarging": share,
        "share_of_the_stage": seconds["dagster"] / classical["stage"],
        "milliseconds_per_picture": seconds["dagster"] / options.count * 1000,
        "target_share": TARGET_SHARE,
        "low_enough": share < TARGET_SHARE,
    }


def _print(results: dict[str, Any]) -> None:
    shard = results["shard"]
    print(f"{shard['pictures']} pictures of {shard['size']}, enlarged {shard['scale']:g} times")
    for part in ("overhead_seconds", "classical_seconds"):
        print(f"\n{part.replace('_', ', ')}")
        for name, value in results[part].items():
            print(f"  {name:<44}{value:9.3f}")
    print(
        f"\n{results['share_of_enlarging']:.2%} of enlarging alone (goal: below {TARGET_SHARE:.0%}), "
        f"{results['share_of_the_stage']:.2%} of the whole stage, "
        f"{results['milliseconds_per_picture']:.2f} ms a picture"
    )


if __name__ == "__main__":
    sys.exit(main())
