"""What the cores do for each picture while a device does the networks, and how busy they can keep it.

    python benchmarks/host_work.py                            8 pictures of 1024x1024, two minutes
    python benchmarks/host_work.py --quick                    4 pictures of 128x128

The device is a stand-in: it waits as long as a GPU would compute (a sleep, which uses no core) and gives
stored pixels: animevideov3's own, computed once before anything is timed, or without weights a cubic
enlargement, finished where a GPU finishes them. What a device would bring by a copy of its own is therefore
free here; what the stand-in does itself is counted apart (``stand-in``). The rest is what `imgpipe run` does.

Every case runs twice. With one worker, nothing else is under way while a step runs, so that the CPU seconds
of the process and its children belong to that step, in whichever thread they were spent. With all workers,
the share of the time in which the device was busy is compared with what the core-seconds predict: a step
takes max(device, core-seconds / cores) for a picture. ``slow``: the device as much slower as 16 cores are
more than those that are here, which is the same ratio.

Other work on the machine takes cores away: ``cores_to_be_had`` says how many busy threads got beside it, and
the expected share is reckoned with those. Core-seconds are larger on a crowded machine too.

Pictures are frames of ``--images`` continued by reflection, or drawings. The machine should have
nothing else to do.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import machine
import numpy as np
import PIL.Image
import torch

import imgpipe
from imgpipe.config import Settings, load_settings
from imgpipe.engines import local
from imgpipe.engines.shard import run_shard
from imgpipe.inference.copies import Copies, Ring
from imgpipe.inference.memory_model import ASSUMED_MEMORY
from imgpipe.upscaling import finish, network_upscaler
from imgpipe.upscaling.device_finish import finished
from imgpipe.upscaling.device_network import RING_BYTES, TorchDeviceNetwork
from imgpipe.upscaling.network import (
    Answer,
    LoadedNetwork,
    Part,
    ReceptiveField,
    Sent,
    strip_of,
    whole_windows,
)
from imgpipe.upscaling.strips_network import Done

SHARED = Path(__file__).resolve().parent.parent.parent / "shared"
SCALE, MATTING_PX = 4, 1024
MEGAPIXEL = 1024 * 1024
#: Seconds of an H100 for 1024x1024 px, estimated: animevideov3, the 6B network, IS-Net.
UPSCALING, UPSCALING_6B, MATTING = 0.010, 0.075, 0.020
TARGETS = {"upscaled_images": 0.45, "quality_reports": 0.2}
EXTRAPOLATED_CORES = 16


@dataclass
class Device:
    """Does one thing at a time; waits instead of computing."""

    upscaling: float = UPSCALING
    busy: float = 0.0
    own_cpu: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def wait(self, seconds: float) -> None:
        with self.lock:
            time.sleep(seconds)
            self.busy += seconds


DEVICE = Device()


class StandInUpscaler(TorchDeviceNetwork):
    """A network on a GPU: what ``real`` answered once, finished as a GPU does it, after a wait."""

    scale, precision, device = SCALE, "fp16", "cuda"

    def __init__(self, real: Any) -> None:
        self._copies, self._real, self._stored = Copies(Ring(RING_BYTES)), real, dict[Any, Answer]()

    def wait_for_turn(self) -> None:
        """It is done when an order returns."""

    def start(self, parts: Sequence[Part], give: Callable[[int, Sent], None], *, full: bool) -> None:
        DEVICE.wait(DEVICE.upscaling * sum(p.row.window_px * p.column.window_px for p in parts) / MEGAPIXEL)
        begin = time.thread_time()
        answers = [self._answer(part) for part in parts]
        DEVICE.own_cpu += time.thread_time() - begin
        for index, answer in enumerate(answers):
            give(index, Done(answer))

    def _answer(self, part: Part) -> Answer:
        pixels, alpha = part.held.on(self._copies)
        window = pixels[part.row.window, part.column.window]
        key = window[::7, ::97].numpy().tobytes(), part.row, part.column, part.finishing
        if key not in self._stored:
            levels, mean = self._enlarged(window.numpy())
            if part.finishing is None:
                inside = part.row.core(1), part.column.core(1)
                levels = levels[part.row.core(SCALE), part.column.core(SCALE)]
                self._stored[key] = Answer(levels, mean[inside], 0.0)
            else:
                both = torch.from_numpy(levels), torch.from_numpy(mean)
                made, _ = finished(*both, window, alpha, part.finishing)
                self._stored[key] = Answer(made.numpy(), None, 0.0)
        return self._stored[key]

    def _enlarged(self, window: Any) -> tuple[Any, Any]:
        height, width = window.shape[:2]
        if self._real is not None:
            levels, mean = whole_windows(self._real, np.ascontiguousarray(window[None]))
        else:
            larger = cv2.resize(window, (width * SCALE, height * SCALE), interpolation=cv2.INTER_CUBIC)
            strip = strip_of(larger[None], SCALE)
            levels, mean = strip.levels, strip.mean
        return levels[0], mean[0]

    def release_cached_memory(self) -> None:
        """It has none."""


class StandInMatting:
    """An :class:`imgpipe.inference.onnx_file.OpenedOnnx`: a soft, wavy outline, after a wait."""

    runtime, device, fallback_reason = "stand-in", "cuda", ""
    input_dtype, input_shape = np.dtype(np.float32), (None, 3, MATTING_PX, MATTING_PX)

    def __init__(self) -> None:
        y, x = np.mgrid[:MATTING_PX, :MATTING_PX].astype(np.float32) / MATTING_PX - 0.5
        edge = 0.33 + 0.03 * np.sin(12 * np.arctan2(y, x)) - np.hypot(x * 1.3, y)
        self._matte = np.clip(0.5 + edge * MATTING_PX / 6, 0, 1).astype(np.float32)

    def __call__(self, values: Any) -> list[Any]:
        DEVICE.wait(MATTING * len(values))
        return [np.broadcast_to(self._matte, (len(values), 1, *self._matte.shape))]


# ---------------------------------------------------------------- clocks


_children: set[str] = set()


def find_children() -> None:
    """Processes that decode are kept for the life of this one: looked for between steps only."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) == os.getpid():
                _children.add(stat.parent.name)


def cpu_seconds() -> float:
    """Of this process and its children."""
    done = os.times()
    total = time.process_time() + done.children_user + done.children_system
    for child in list(_children):
        try:
            fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
            total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        except OSError:
            _children.discard(child)
    return total


def cores_to_be_had() -> float:
    """CPU seconds per second that a run's threads get beside what else the machine does."""
    threads, data = len(os.sched_getaffinity(0)) + 2, bytes(2**21)

    def spin(_: int) -> None:
        while time.perf_counter() < end:
            hashlib.sha256(data)

    begin, cpu = time.perf_counter(), time.process_time()
    end = begin + 0.7
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(spin, range(threads)))
    return (time.process_time() - cpu) / (time.perf_counter() - begin)


class Meter:
    """CPU seconds by (asset, step); wall, CPU and busy seconds of the device by asset."""

    def __init__(self) -> None:
        self.steps: defaultdict[tuple[str, str], float] = defaultdict(float)
        self.assets: dict[str, dict[str, float]] = {}
        self._asset = ""

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        begin = cpu_seconds()
        try:
            yield
        finally:
            self.steps[self._asset, name] += cpu_seconds() - begin

    def run_shard(self, step: Any, *arguments: Any, **more: Any) -> Any:
        self._asset = step.asset
        find_children()
        begin = time.perf_counter(), cpu_seconds(), DEVICE.busy, DEVICE.own_cpu
        result = run_shard(step, *arguments, **more)
        end = time.perf_counter(), cpu_seconds(), DEVICE.busy, DEVICE.own_cpu
        names = "wall", "cpu", "device", "stand-in"
        self.assets[step.asset] = {
            name: after - before for name, before, after in zip(names, begin, end, strict=True)
        }
        if wrong := [row.error_message for row in result.rows if row.error_message]:
            raise SystemExit(f"{step.asset}: {wrong[0]}")
        return result

    @contextmanager
    def by_step(self) -> Iterator[None]:
        """Only where one picture is under way."""

        @contextmanager
        def timed(seconds: Any, name: str) -> Iterator[None]:
            with self.step(name):
                yield
            if isinstance(seconds, dict):
                seconds[name] = 0.0

        with (
            mock.patch.object(local._Clock, "step", timed),
            mock.patch.object(finish.Finisher, "_timed", timed),
            mock.patch.object(network_upscaler, "_timed", timed),
        ):
            yield


# ---------------------------------------------------------------- the runs


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    cores = len(os.sched_getaffinity(0))
    results: dict[str, Any] = {
        "machine": machine.describe(),
        "pictures": f"{options.count} of {options.size}x{options.size}",
        "commit": options.commit,
        "load_average_before": os.getloadavg()[0],
        "device_seconds": {"animevideov3": UPSCALING, "6B": UPSCALING_6B, "IS-Net": MATTING},
        "cases": {},
    }
    cases = {
        "upscale, animevideov3": (["upscale"], UPSCALING, True),
        "upscale, 6B, slow": (["upscale"], UPSCALING_6B * EXTRAPOLATED_CORES / cores, False),
        "rembg and upscale, animevideov3": (["rembg", "upscale"], UPSCALING, True),
    }
    with tempfile.TemporaryDirectory() as name, _stand_ins(options.weights) as weights:
        folder = Path(name)
        for count, place in ((2, "warm"), (options.count // 2, "serial"), (options.count, "parallel")):
            _write_pictures(folder / place, count, options)
        for case, (actions, upscaling, by_step) in cases.items():
            if options.only not in case:
                continue
            DEVICE.upscaling = upscaling
            run = _Runs(folder, case.replace(" ", "-"), actions, weights)
            for workers in (0, 1):
                run("warm", workers, Meter())
            found: dict[str, Any] = {}
            if by_step:
                meter = Meter()
                with meter.by_step():
                    found["core_seconds_by_step"] = _per_picture(meter, run("serial", 1, meter))
            meter = Meter()
            had = cores_to_be_had()
            count, total = run("parallel", 0, meter)
            found["cores_to_be_had"] = round((had + cores_to_be_had()) / 2, 2)
            found |= _busy(meter, count, total, found["cores_to_be_had"])
            results["cases"][case] = found
            _print(case, found)
            machine.keep(results, "host_work", _where(options), options.output, quiet=True)
    machine.keep(results, "host_work", _where(options), options.output)
    return 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--count", type=int, default=8)
    parser.add_argument("--size", type=int, default=1024, help="edge of every picture, px")
    parser.add_argument("--images", type=Path, default=SHARED / "data" / "sr", help="folder of real pictures")
    weights = SHARED / "models" / "realesr-animevideov3.safetensors"
    parser.add_argument("--weights", type=Path, default=weights, help="animevideov3 as .safetensors")
    parser.add_argument("--quick", action="store_true", help="4 pictures of 128x128")
    parser.add_argument("--only", default="", help="cases whose names hold this text")
    parser.add_argument("--commit", default="", help="what is measured, for the record")
    parser.add_argument("--output", type=Path, help="JSON file; default: benchmarks/results/")
    options = parser.parse_args(arguments)
    if options.quick:
        options.count, options.size = 4, 128
    return options


def _where(options: argparse.Namespace) -> str:
    return machine.slug(machine.cpu_name(), len(os.sched_getaffinity(0)), "cores", options.commit)


def _write_pictures(folder: Path, count: int, options: argparse.Namespace) -> None:
    folder.mkdir()
    for number in range(count):
        picture = PIL.Image.fromarray(_pictures(options)[number % 2])
        # Results that differ in a byte: of equal files only one would be kept for the next step.
        picture.save(folder / f"{number:03d}.png", dpi=(72 + number, 72 + number))


def _pictures(options: argparse.Namespace) -> list[Any]:
    """Two, so that few answers need to be stored."""
    paths = sorted(options.images.glob("*.png"))[:2] if options.images.is_dir() else []
    frames = [np.array(PIL.Image.open(path).convert("RGB")) for path in paths]
    if len(frames) < 2:
        from training.samples.drawings import draw_samples

        drawn = [sample.image for sample in draw_samples()[:2]]
        frames = [(image.pixels[..., :3] >> (image.bit_depth - 8)).astype(np.uint8) for image in drawn]
    size = options.size
    pads = [[(0, max(0, size - side)) for side in frame.shape[:2]] for frame in frames]
    return [
        np.pad(frame, (*pad, (0, 0)), "symmetric")[:size, :size]
        for frame, pad in zip(frames, pads, strict=True)
    ]


@contextmanager
def _stand_ins(weights: Path) -> Iterator[dict[str, str]]:
    """Patches what loads networks; gives the settings that name them."""
    from onnx import TensorProto, helper, save

    real: LoadedNetwork | None = None
    with tempfile.TemporaryDirectory() as name, ExitStack() as patches:
        matting = Path(name) / "isnet.onnx"
        ends = [helper.make_tensor_value_info(end, TensorProto.FLOAT, (1, 3, 1024, 1024)) for end in "xy"]
        graph = helper.make_graph(
            [helper.make_node("Identity", ["x"], ["y"])], "stand-in", ends[:1], ends[1:]
        )
        save(helper.make_model(graph), matting)
        if weights.is_file():
            from imgpipe.inference.weights import LocatedWeights
            from imgpipe.upscaling.spandrel_network import load_network

            real = load_network(
                LocatedWeights(weights.stem, weights, "0" * 64, None), device="cpu", precision="auto"
            )
        else:
            weights = Path(name) / "stand-in.safetensors"
            weights.write_bytes(b"stand-in")
        loaded = LoadedNetwork(
            StandInUpscaler(real.network if real else None),
            backend="spandrel",
            runtime="torch",
            architecture="stand-in",
            receptive_field=ReceptiveField(18, "computed"),
            memory=real.memory if real else ASSUMED_MEMORY,
        )
        opened = StandInMatting()
        replaced: dict[str, Callable[..., Any]] = {
            "imgpipe.upscaling.build._load": lambda *_: loaded,
            "imgpipe.stages.upscale.resolve_device": lambda _: "cuda",
            "imgpipe.stages.matte.may_use_cuda": lambda _: True,
            "imgpipe.upscaling.tile_planner.available_memory_bytes": lambda _: 80 * 2**30,
            "imgpipe.matting.onnx_model.open_onnx": lambda *_: opened,
        }
        for target, stand_in in replaced.items():
            patches.enter_context(mock.patch(target, stand_in, create=True))  # older ones lack some
        yield {
            "upscale.model": str(weights),
            "rembg.model": str(matting),
            "rembg.contract": "isnet-anime",
        }


class _Runs:
    """Runs one case over the pictures of a folder, as `imgpipe run` does."""

    def __init__(self, folder: Path, case: str, actions: Sequence[str], weights: dict[str, str]) -> None:
        self._folder, self._case, self._actions, self._weights = folder, case, actions, weights

    def __call__(self, place: str, workers: int, meter: Meter) -> tuple[int, float]:
        """(pictures, CPU seconds of the whole run)."""
        from imgpipe.launch import Launcher, open_instance
        from imgpipe.partitions import add_partitions
        from imgpipe.storage.manifests import plan, seal
        from imgpipe.storage.opening import open_store

        output = self._folder / "output" / self._case / f"{place}-{workers}"
        settings: Settings = load_settings(
            {
                "source": str(self._folder / place),
                "output": str(output),
                "dataset": "benchmark",
                "actions": list(self._actions),
                "workers": workers,
                "upscale.precision": "fp16",
                "upscale.scale": SCALE,
                **self._weights,
            }
        )
        os.environ["DAGSTER_HOME"] = str(self._folder / "dagster")
        source = open_store(settings.source, settings.s3)
        stored = open_store(settings.output, settings.s3, create=True)
        seal(plan(source, stored, dataset=settings.dataset, shard_size=settings.shard_size), stored)
        with open_instance() as instance, mock.patch("imgpipe.assets.images.run_shard", meter.run_shard):
            add_partitions(settings, instance, ["00000"])
            launcher = Launcher(settings, instance)
            find_children()
            begin = cpu_seconds()
            launcher.run_shard("00000")
            return len(list((self._folder / place).iterdir())), cpu_seconds() - begin


# ---------------------------------------------------------------- what is said


def _per_picture(meter: Meter, ran: tuple[int, float]) -> dict[str, dict[str, float]]:
    count, total = ran
    found: dict[str, dict[str, float]] = {}
    for asset, spent in meter.assets.items():
        own: dict[str, float] = {step: seconds for (of, step), seconds in meter.steps.items() if of == asset}
        # Nested: finishing happens in the thread that computes, all of it within the stage.
        wait = own.get("network_wait", 0.0)
        inner = sum(own.get(name, 0.0) for name in ("color_match", "finish")) + spent["stand-in"]
        if wait:
            own["network_wait"] = wait - inner
            own["compute"] -= wait + sum(own.get(name, 0.0) for name in ("prepare", "alpha"))
        own["stand-in"] = spent["stand-in"]
        outer = sum(own.values())
        own["rows, tables, threads"] = spent["cpu"] - outer
        found[asset] = {step: round(seconds / count, 4) for step, seconds in own.items()}
        found[asset]["total without the stand-in"] = round((spent["cpu"] - spent["stand-in"]) / count, 4)
    engine = sum(spent["cpu"] for spent in meter.assets.values())
    found["Dagster, checks, metadata"] = {"total of a shard, however large": round(total - engine, 4)}
    return found


def _busy(meter: Meter, count: int, total: float, cores: float) -> dict[str, Any]:
    """By asset with a device, and over all of them: how busy it was, and what is to be expected."""
    rows: dict[str, Any] = {}
    for asset, spent in meter.assets.items():
        own, device = (spent["cpu"] - spent["stand-in"]) / count, spent["device"] / count
        row: dict[str, Any] = {
            "core_seconds": own,
            "device_seconds": device,
            "wall_seconds": spent["wall"] / count,
        }
        if asset in TARGETS:
            row |= {"target_core_seconds": TARGETS[asset], "low_enough": own <= TARGETS[asset]}
        if device:
            expected = min(1.0, cores * device / own)
            row |= {
                "busy_share": spent["device"] / spent["wall"],
                "expected_busy_share": expected,
                "measured_by_expected": spent["device"] / spent["wall"] / expected,
                f"expected_with_{EXTRAPOLATED_CORES}_cores": min(1.0, EXTRAPOLATED_CORES * device / own),
            }
        rows[asset] = {
            name: round(value, 4) if isinstance(value, float) else value for name, value in row.items()
        }
    return {
        "core_seconds_of_the_run": round(total / count, 4),
        "by_asset": rows,
        f"pictures_per_second_with_{EXTRAPOLATED_CORES}_cores": round(
            1
            / sum(
                max(row["device_seconds"], row["core_seconds"] / EXTRAPOLATED_CORES) for row in rows.values()
            ),
            2,
        ),
    }


def _print(case: str, found: dict[str, Any]) -> None:
    print(f"\n{case}: {found['core_seconds_of_the_run']:.3f} core-seconds a picture, all told")
    for asset, own in found.get("core_seconds_by_step", {}).items():
        print(f"  {asset}: " + ", ".join(f"{step} {seconds:.3f}" for step, seconds in own.items()))
    for asset, row in found["by_asset"].items():
        print(f"  {asset}: " + ", ".join(f"{name} {value}" for name, value in row.items()))


if __name__ == "__main__":
    print(f"imgpipe at {Path(imgpipe.__file__).parent}")
    sys.exit(main())
