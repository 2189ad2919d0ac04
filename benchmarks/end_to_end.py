"""The whole job, measured: `imgpipe run` beside the sequential script that people write.

    python benchmarks/end_to_end.py --quick                   4 pictures of 96x64, drawn, half a minute
    python benchmarks/end_to_end.py                           24 pictures of 640x480, some minutes
    python benchmarks/end_to_end.py --images stills/ --weights realesr-animevideov3.safetensors --tiles 0 512

Both sides are processes of their own, one after the other, on the same PNG files: decoded, enlarged four
times by animevideov3 on the CPU, saved as PNG, the round trip scored, a heat map drawn. `imgpipe run` also
writes tables, runs Dagster's checks and makes the report, which counts against it. Wall time is from the
start of the process to its end, so imports and loading the model are in it on both sides; they are told
apart as well. One referee scores both alike: the result reduced by an area filter, against the source.

Pictures are crops of the files in ``--images`` (default: ``../shared/data`` beside the checkout where it is),
mirrored where there are more pictures asked for than crops; drawings where there are no files. Without
``--weights`` (default: ``../shared/models``) the network has random weights and fidelity says nothing.
The machine should have nothing else to do. Results are printed and kept as JSON, one file per machine.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import machine
import numpy as np
import PIL.Image
import skimage.metrics
import torch
from safetensors.torch import load_file, save_file

from imgpipe.inference.threads import network_threads
from imgpipe.inference.weights import LocatedWeights
from imgpipe.upscaling.spandrel_network import load_network

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
SCRIPT = Path(__file__).resolve().parent / "baselines" / "sequential.py"
TARGET_SPEED = 4.0
SCALE = 4

Pixels = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = folder / "source"
        origin = _write_pictures(source, options)
        weights = _weights(folder, options)
        results: dict[str, Any] = {
            "machine": machine.describe(torch=torch.__version__, threads=torch.get_num_threads()),
            "pictures": {"count": options.count, "size": "{}x{}".format(*options.size), "from": origin},
            "weights": options.weights.name if options.weights else "random",
        }
        print(f"{options.count} pictures of {results['pictures']['size']} ({origin}), {results['weights']}")
        reason = _why_no_script()
        if not reason:
            results["script"] = {
                f"tile {tile}": _measure_script(source, folder / f"script-{tile}", weights, tile)
                for tile in options.tiles
            }
        results["imgpipe"] = _measure_imgpipe(source, folder / "imgpipe", weights)
    results["verdict"] = {"skipped": reason} if reason else _verdict(results)
    _print(results)
    machine.keep(
        results,
        "end_to_end",
        machine.slug(machine.cpu_name(), torch.get_num_threads(), "threads"),
        options.output,
    )
    return 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--count", type=int, help="pictures; default 24")
    parser.add_argument("--size", type=_size, help="of every picture, px; default 640x480")
    parser.add_argument(
        "--tiles", nargs="+", type=int, default=[0], help="RealESRGANer's; the fastest counts"
    )
    parser.add_argument("--images", type=Path, default=SHARED / "data", help="folder of real pictures")
    parser.add_argument(
        "--weights",
        type=Path,
        default=SHARED / "models" / "realesr-animevideov3.safetensors",
        help="animevideov3 as .safetensors",
    )
    parser.add_argument("--quick", action="store_true", help="4 pictures of 96x64, drawn")
    parser.add_argument("--output", type=Path, help="JSON file; default: benchmarks/results/")
    options = parser.parse_args(arguments)
    options.count = options.count or (4 if options.quick else 24)
    options.size = options.size or ((96, 64) if options.quick else (640, 480))
    if options.quick:
        options.images = None
    options.images = options.images if options.images and options.images.is_dir() else None
    options.weights = options.weights if options.weights.is_file() else None
    return options


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    return int(width), int(height)


# ---------------------------------------------------------------- what both sides are given


def _write_pictures(folder: Path, options: argparse.Namespace) -> str:
    """The pictures as PNG files; where they come from, in words."""
    folder.mkdir()
    crops = list(_crops(options.images, options.size)) if options.images else []
    origin = f"crops of {len(crops)} real frames, mirrored" if crops else "drawings"
    crops = crops or list(_drawn(options.size))
    # Four views of a crop: as it is, mirrored left to right, top to bottom, and both.
    views = [
        view for step in ((1, 1), (1, -1), (-1, 1), (-1, -1)) for view in ((crop, step) for crop in crops)
    ]
    if len(views) < options.count:
        raise SystemExit(f"--count: expected at most {len(views)} from these pictures, got {options.count}")
    for number, (crop, (down, right)) in enumerate(views[: options.count]):
        pixels = np.ascontiguousarray(crop[::down, ::right])
        PIL.Image.fromarray(pixels).save(folder / f"{number:03d}.png")
    return origin


def _crops(folder: Path, size: tuple[int, int]) -> Iterator[Pixels]:
    """The middle of every opaque colour picture that is large enough."""
    width, height = size
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):
            continue
        picture = PIL.Image.open(path)
        if picture.mode != "RGB" or picture.width < width or picture.height < height:
            continue
        left, top = (picture.width - width) // 2, (picture.height - height) // 2
        yield np.array(picture.crop((left, top, left + width, top + height)))


def _drawn(size: tuple[int, int]) -> Iterator[Pixels]:
    from training.samples.drawings import draw_samples

    for drawing in draw_samples()[:6]:
        levels = drawing.image.pixels[..., :3]
        pixels = (levels >> (drawing.image.bit_depth - 8)).astype(np.uint8)
        yield np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def _weights(folder: Path, options: argparse.Namespace) -> Path:
    """The network as .safetensors; the same tensors lie beside it as RealESRGANer's .pth."""
    path = folder / "weights" / "realesr-animevideov3.safetensors"
    path.parent.mkdir()
    if options.weights is not None:
        state = load_file(options.weights)
    else:
        from spandrel.architectures.Compact import Compact

        torch.manual_seed(0)
        network = Compact(num_feat=64, num_conv=16, upscale=SCALE)
        state = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    save_file(state, path)
    torch.save({"params": state}, path.with_suffix(".pth"))
    return path


# ---------------------------------------------------------------- the two sides


def _why_no_script() -> str:
    """Empty where the sequential script can run."""
    missing = [name for name in ("realesrgan", "basicsr") if importlib.util.find_spec(name) is None]
    return f"the sequential script needs {' and '.join(missing)}, not installed here" if missing else ""


def _measure_script(source: Path, output: Path, weights: Path, tile: int) -> dict[str, Any]:
    command = [sys.executable, str(SCRIPT), str(source), str(output)]
    command += ["--weights", str(weights.with_suffix(".pth")), "--tile", str(tile)]
    wall, said = _timed(command)
    steps = json.loads(said.splitlines()[-1])
    results = {path.name: output / path.name for path in source.iterdir()}
    start = wall - sum(steps.values())  # The interpreter itself, before the script's first line.
    return {
        "wall_seconds": wall,
        "start_and_imports": start + steps.pop("imports"),
        "steps": steps,
        "fidelity": _fidelity(source, results),
    }


def _measure_imgpipe(source: Path, folder: Path, weights: Path) -> dict[str, Any]:
    output, home = folder / "output", folder / "dagster"
    command = [sys.executable, "-m", "imgpipe", "run", "--source", str(source), "--output", str(output)]
    command += ["--dataset", "benchmark"]
    for setting in ("actions=[upscale]", f"upscale.model={weights}", "device=cpu", "upscale.scale=4"):
        command += ["--set", setting]
    home.mkdir(parents=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("IMGPIPE_")}
    environment |= {"DAGSTER_HOME": str(home), "PYTHONPATH": str(ROOT)}
    launched = time.time()
    before = _children_cpu_seconds()
    wall, _ = _timed(command, environment, codes=(0, 1))  # 1: finished, a check rejected some.
    busy = _children_cpu_seconds() - before
    rows = _rows(output)
    results = {row.source_key: output / row.output_key for row in rows["upscaled_images"] if row.output_key}
    return {
        "wall_seconds": wall,
        "network_and_neighbours": _neighbours(wall, busy, source, weights),
        **_wall_by_asset(home, launched, wall),
        "steps": _busy(rows),
        "fidelity": _fidelity(source, results),
    }


def _neighbours(wall: float, busy: float, source: Path, weights: Path) -> dict[str, float]:
    """Whether the run takes longer than its network alone and the rest of its CPU seconds on all cores.

    ``times``: wall time / that sum; above 1.15 the network and its neighbours are in each other's way.
    """
    paths = sorted(source.iterdir())
    pixels = np.array(PIL.Image.open(paths[0]).convert("RGB"), np.float32)[None] / np.float32(255)
    located = LocatedWeights(weights.stem, weights, "0" * 64, None)
    network = load_network(located, device="cpu", precision="auto").network
    turns = []
    for _ in range(4):
        cpu, begin = time.process_time(), time.perf_counter()
        for _ in network.strips(pixels):
            pass
        turns.append((time.perf_counter() - begin, time.process_time() - cpu))
    alone, alone_busy = min(turns)
    parts = len(paths) * alone + (busy - len(paths) * alone_busy) / network_threads()
    return {"network_alone_seconds": alone, "cpu_seconds": busy, "times": wall / parts}


def _children_cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _timed(
    command: list[str], environment: dict[str, str] | None = None, codes: tuple[int, ...] = (0,)
) -> tuple[float, str]:
    """Seconds from the start of the process to its end, and what it printed."""
    begin = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    seconds = time.perf_counter() - begin
    # An exception of Python's own ends with 1 as well.
    if done.returncode not in codes or "Traceback" in done.stderr:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return seconds, done.stdout


def _rows(output: Path) -> dict[str, list[Any]]:
    from imgpipe.storage.local import LocalStore
    from imgpipe.storage.manifests import list_shards
    from imgpipe.storage.tables import read_table

    store = LocalStore(output)
    shards = list_shards(store, "benchmark")
    assets = ("raw_images", "upscaled_images", "quality_reports")
    return {
        asset: [row for shard in shards for row in read_table(store, asset, "benchmark", shard)[0]]
        for asset in assets
    }


def _busy(rows: dict[str, list[Any]]) -> dict[str, float]:
    """Seconds by step, added up over all images and threads: with overlap their sum exceeds the wall time."""
    totals: defaultdict[str, float] = defaultdict(float)
    for asset, members in rows.items():
        for row in members:
            seconds: dict[str, float] = dict(row.seconds)
            own = seconds.pop("compute", 0.0)
            for name in ("read", "decode", "encode", "write"):
                totals["decode" if name in ("read", "decode") else "encode"] += seconds.pop(name, 0.0)
            if asset == "quality_reports":
                totals["score"] += own
            elif asset == "upscaled_images":
                totals["network"] += seconds.get("network", own)
                totals["colour_match"] += seconds.get("color_match", 0.0)
                totals["rest_of_upscaling"] += (
                    own - seconds.get("network", own) - seconds.get("color_match", 0.0)
                )
    return dict(totals)


def _wall_by_asset(home: Path, launched: float, wall: float) -> dict[str, Any]:
    """From the instance's own events: when the first run began, and how long each asset took."""
    from dagster import DagsterInstance

    seconds: defaultdict[str, float] = defaultdict(float)
    with DagsterInstance.from_config(str(home)) as instance:
        records = instance.get_run_records()
        first = min(record.create_timestamp.timestamp() for record in records)
        for record in records:
            for step in instance.get_run_step_stats(record.dagster_run.run_id):
                if step.start_time and step.end_time:
                    seconds[step.step_key] += step.end_time - step.start_time
    start = first - launched
    return {
        "start_and_imports": start,
        "wall_by_asset": {**seconds, "rest": wall - start - sum(seconds.values())},
    }


# ---------------------------------------------------------------- the referee


def _fidelity(source: Path, results: dict[str, Path]) -> dict[str, float]:
    """Mean and least PSNR and SSIM of the reduced results against their sources, RGB, 8 bits."""
    psnr, ssim = [], []
    for path in sorted(source.iterdir()):
        before = np.array(PIL.Image.open(path).convert("RGB"))
        after = np.array(PIL.Image.open(results[path.name]).convert("RGB"))
        height, width = before.shape[:2]
        if after.shape[:2] != (height * SCALE, width * SCALE):
            raise SystemExit(f"{path.name}: expected {width * SCALE}x{height * SCALE}, got {after.shape}")
        again = cv2.resize(after, (width, height), interpolation=cv2.INTER_AREA)
        psnr.append(skimage.metrics.peak_signal_noise_ratio(before, again, data_range=255))
        ssim.append(
            skimage.metrics.structural_similarity(
                before,
                again,
                channel_axis=2,
                gaussian_weights=True,
                sigma=1.5,
                use_sample_covariance=False,
                data_range=255,
            )
        )
    return {
        "pictures": len(psnr),
        "psnr_mean_db": round(float(statistics.fmean(psnr)), 3),
        "psnr_least_db": round(float(min(psnr)), 3),
        "ssim_mean": round(float(statistics.fmean(ssim)), 5),
        "ssim_least": round(float(min(ssim)), 5),
    }


def _verdict(results: dict[str, Any]) -> dict[str, Any]:
    """Against the fastest of the scripts, with and without start and imports."""
    fastest = min(results["script"].values(), key=lambda measured: measured["wall_seconds"])
    ours = results["imgpipe"]
    ratio = fastest["wall_seconds"] / ours["wall_seconds"]
    working = [side["wall_seconds"] - side["start_and_imports"] for side in (fastest, ours)]
    better = [ours["fidelity"][name] >= fastest["fidelity"][name] for name in ("psnr_mean_db", "ssim_mean")]
    return {
        "times_as_fast": round(ratio, 2),
        "times_as_fast_without_start": round(working[0] / working[1], 2),
        "target": TARGET_SPEED,
        "fast_enough": ratio >= TARGET_SPEED,
        "same_or_better_fidelity": all(better),
    }


def _print(results: dict[str, Any]) -> None:
    sides = {f"script, {name}": measured for name, measured in results.get("script", {}).items()}
    for name, measured in {**sides, "imgpipe run": results["imgpipe"]}.items():
        print(f"\n{name}: {measured['wall_seconds']:.2f} s from start to end")
        print(f"  {'start and imports':<22}{measured['start_and_imports']:8.2f} s")
        for table in ("wall_by_asset", "steps"):
            if name == "imgpipe run":
                print(
                    "  wall time by asset" if table == "wall_by_asset" else "  busy seconds over all threads"
                )
            for step, seconds in measured.get(table, {}).items():
                print(f"  {step.replace('_', ' '):<22}{seconds:8.2f} s")
        if "network_and_neighbours" in measured:
            shown = (f"{key} {value:.2f}" for key, value in measured["network_and_neighbours"].items())
            print("  network and neighbours: " + ", ".join(shown))
        print("  " + ", ".join(f"{key} {value}" for key, value in measured["fidelity"].items()))
    print("\n" + ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in results["verdict"].items()))


if __name__ == "__main__":
    sys.exit(main())
