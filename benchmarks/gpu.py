"""What a machine with a GPU is to be asked first: what loads, the tests, speed and memory. For ``make gpu``.

    python benchmarks/gpu.py --animevideov3 animevideov3.safetensors --isnet isnet-anime.onnx --images stills/

It needs the extras gpu and dev in one environment, where dev's onnxruntime has to make room:

    pip install -e '.[gpu,dev]' && pip uninstall -y onnxruntime
    pip install --force-reinstall --no-deps onnxruntime-gpu

Each step is a process of its own; what it says is kept at once, in a JSON file named by the card, and one
that fails or hangs costs its row alone. Without a GPU it says so and ends with 2. The card is left as it
is.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import machine

from imgpipe.inference.cuda import why_no_gpu

ROOT = Path(__file__).resolve().parents[1]
TIMEOUT_SECONDS = 1800
#: Longest end of what a step says that is kept, characters.
KEPT = 4000

SESSION = """
import sys
{first}
import onnxruntime
{second}
made = onnxruntime.InferenceSession(sys.argv[1], providers=["CUDAExecutionProvider"])
print(made.get_providers())
"""
TORCH = """
import torch
values = torch.arange(65536, dtype=torch.int32, device="cuda").to(torch.uint16)
assert (values.cpu().numpy() == range(65536)).all()
card = torch.cuda.get_device_properties()
print(torch.__version__, torch.version.cuda, torch.backends.cudnn.version(), torch.cuda.get_arch_list(), card)
"""
#: The 6B network on 4096 x 4096 px with a tenth of the card: what was planned, what was taken.
MEMORY = """
import json, pathlib, sys, tempfile
import numpy as np, torch
sys.path.insert(0, "benchmarks")
from upscaling_contenders import network_files, ours
from imgpipe.images.image import Image
import imgpipe.inference.device as device
total = torch.cuda.mem_get_info()[1] // 10
torch.cuda.set_per_process_memory_fraction(0.1)
with tempfile.TemporaryDirectory() as folder:
    path = dict(network_files(None, True, pathlib.Path(folder)))["anime-6b"]
    upscaler = ours(path, "cuda")
planner = upscaler._queue._planner
import imgpipe.upscaling.tile_planner as planning
planning.available_memory_bytes = lambda _: total - torch.cuda.memory_allocated()
plan = planner.plan(4096, 4096)
planned = upscaler._loaded.memory.needed_bytes(plan.largest_window_pixels)
done = upscaler.upscale(Image(np.zeros((4096, 4096, 3), np.uint8)), (4096, 4096))
print(json.dumps({"planned": planned, "taken": torch.cuda.max_memory_allocated(), **done.details}))
"""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--animevideov3", type=Path, help="its .safetensors; default: random weights")
    parser.add_argument("--isnet", type=Path, help="isnet-anime.onnx; without it sessions are not tried")
    parser.add_argument("--images", type=Path, nargs="*", default=[], help="folders of real pictures")
    parser.add_argument("--output", type=Path, help="JSON file; default: benchmarks/results/")
    options = parser.parse_args(arguments)
    if why := why_no_gpu():
        print(f"nothing is measured: {why}", file=sys.stderr)
        return 2
    asked = "--query-gpu=name,uuid,driver_version,memory.total,mig.mode.current"
    chosen = ["-i", visible] if (visible := os.environ.get("CUDA_VISIBLE_DEVICES", "")) else []
    card = said(["nvidia-smi", *chosen, asked, "--format=csv"])
    name = str(card.get("said", "")).strip().splitlines()[-1:] or ["unknown card"]
    results: dict[str, Any] = {"card": card, "cores": said(["sh", "-c", "nproc; cat /sys/fs/cgroup/cpu.max"])}
    where = machine.slug(name[0].split(",")[0])
    for step, command, environment in steps(options, where):
        print(f"\n{step}", flush=True)
        results[step] = said(command, environment)
        print(results[step].get("said", results[step]), flush=True)
        machine.keep(results, "gpu", where, options.output, quiet=True)
    machine.keep(results, "gpu", where, options.output)
    return int(any(step.get("exit_code") for step in results.values()))


def steps(options: argparse.Namespace, where: str) -> Iterator[tuple[str, list[str], dict[str, str]]]:
    """(name, command, what its environment has besides), in order."""
    python = [sys.executable, "-c"]
    spec = importlib.util.find_spec("onnxruntime")
    if spec is not None:
        library = Path(str(spec.origin)).parent / "capi" / "libonnxruntime_providers_cuda.so"
        yield "libraries", ["ldd", str(library)], {}
    if options.isnet:
        ways = {"alone": ("", ""), "preloaded": ("", "onnxruntime.preload_dlls(directory='')")}
        for way, (first, second) in {**ways, "after torch": ("import torch", "")}.items():
            code = SESSION.format(first=first, second=second)
            yield f"session {way}", [*python, code, str(options.isnet)], {}
    doctor = [sys.executable, "-m", "imgpipe", "doctor", "--set", "rembg.model=classical"]
    doctor += ["--set", "upscale.model=lanczos", "--set"]
    yield "doctor", [*doctor, "device=cuda"], {}
    yield "doctor without GPU", [*doctor, "device=auto"], {"CUDA_VISIBLE_DEVICES": ""}
    yield "torch", [*python, TORCH], {}
    yield "tests", [sys.executable, "-m", "pytest", "imgpipe_tests/inference/test_on_gpu.py"], {}
    yield "memory", [*python, MEMORY], {}
    upscaling = [sys.executable, "benchmarks/upscaling.py", "--device", "cuda", "--rrdb"]
    upscaling += ["--exact-size", "640x480", "--sizes", "1024x1024", "--rrdb-sizes", "1024x1024"]
    upscaling += ["--gpu-sizes", "512", "1024", "2048", "--batches", "1", "4", "16", "--memory-size", "0"]
    upscaling += ["--stage-images", "64", "--compile", "reduce-overhead"]
    upscaling += ["--weights", str(options.animevideov3)] if options.animevideov3 else []
    upscaling += ["--images", *map(str, options.images)] if options.images else []
    kept = (options.output or machine.RESULTS / "x").parent / f"upscaling-{where}.json"
    yield "upscaling", [*upscaling, "--output", str(kept)], {}


def said(command: list[str], environment: dict[str, str] | None = None) -> dict[str, Any]:
    """The end of what ``command`` says and its exit code, or why there is none."""
    more = {**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})}
    try:
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT_SECONDS,
            cwd=ROOT,
            env=more,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        return {"failed": str(exc)[:300], "exit_code": 1}
    return {"exit_code": done.returncode, "said": done.stdout[-KEPT:]}


if __name__ == "__main__":
    sys.exit(main())
