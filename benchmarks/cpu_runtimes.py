"""Networks on a CPU by every runtime, interleaved in one run: what the choice of the runtime rests on.

    python benchmarks/cpu_runtimes.py --weights animevideov3.safetensors anime-6b.safetensors \\
        --matting isnet.onnx --rounds 5
    python benchmarks/cpu_runtimes.py --quick                 random weights, a minute

The network alone is measured, on float32 pictures without tiles: torch with NCHW tensors (as RealESRGANer has
them) and channels_last, in fp32 and in bf16; onnxruntime in fp32; OpenVINO in fp32 and bf16 on the converted
module; and ``imgpipe``, which is the way that `spandrel_network` chooses, levels of 16 bits included. They
take turns, and the least wall time of each counts; CPU seconds are those of the same turn. Ratios are
times as fast as torch NCHW in fp32. The machine should have nothing else to do.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import machine
import numpy as np
import onnxruntime
import spandrel
import torch
from upscaling_contenders import in_turns, network_files

from imgpipe.inference.device import bf16_pays
from imgpipe.inference.openvino_network import Graph, library, of_module, read_onnx
from imgpipe.inference.threads import network_threads
from imgpipe.inference.weights import LocatedWeights
from imgpipe.upscaling.spandrel_network import load_network

#: What the others are compared with, where there is a torch module.
_REFERENCE = "torch NCHW fp32"

Call = Callable[[], object]


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    results: dict[str, Any] = {
        "machine": machine.describe(
            threads=network_threads(),
            torch=torch.__version__,
            openvino=library().__version__,
            onnxruntime=onnxruntime.__version__,
        )
    }
    print(results["machine"])
    with tempfile.TemporaryDirectory() as folder:
        files = options.weights or [path for _, path in network_files(None, True, Path(folder))]
        for path in files:
            for size in options.sizes if "6b" not in path.stem else options.sizes_6b:
                width, _, height = size.partition("x")
                calls = dict(_upscalers(path, int(width), int(height), Path(folder)))
                results[f"{path.stem} {size}"] = _measured(f"{path.stem} {size}", calls, options.rounds)
        if options.matting:
            calls = dict(_matting(options.matting))
            results["matting"] = _measured("matting", calls, options.rounds)
    where = machine.slug(machine.cpu_name(), network_threads(), "threads")
    machine.keep(results, "cpu_runtimes", where, options.output)
    return 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--weights", type=Path, nargs="*", default=[], help="weights files; default: random")
    parser.add_argument("--matting", type=Path, help="an ONNX matting network with one fixed input size")
    parser.add_argument("--sizes", nargs="+", default=["320x240", "640x480"], help="source sizes")
    parser.add_argument("--sizes-6b", nargs="+", default=["160x120", "320x240"], help="those of a 6B network")
    parser.add_argument("--rounds", type=int, default=3, help="timed turns of each; the best counts")
    parser.add_argument("--quick", action="store_true", help="one small size, one round")
    parser.add_argument("--output", type=Path, help="JSON file; default: benchmarks/results/")
    options = parser.parse_args(arguments)
    if options.quick:
        options.sizes, options.sizes_6b, options.rounds = ["64x48"], ["32x24"], 1
    return options


def _upscalers(path: Path, width: int, height: int, folder: Path) -> Iterator[tuple[str, Call]]:
    module = _module(path)
    windows = np.random.default_rng(0).random((1, height, width, 3), dtype=np.float32)
    planes = np.ascontiguousarray(windows.transpose(0, 3, 1, 2))
    precisions = {"fp32": torch.float32, **({"bf16": torch.bfloat16} if bf16_pays() else {})}
    yield _REFERENCE, partial(_by_torch, module, torch.from_numpy(planes))
    for name, dtype in precisions.items():
        last = _module(path).to(dtype).to(memory_format=torch.channels_last)
        pixels = torch.from_numpy(planes).to(dtype).to(memory_format=torch.channels_last)
        yield f"torch channels_last {name}", partial(_by_torch, last, pixels)
    session = onnxruntime.InferenceSession(_as_onnx(module, folder), providers=["CPUExecutionProvider"])
    yield "onnxruntime fp32", partial(session.run, None, {"x": planes})
    model = of_module(module, torch.zeros((1, 3, 16, 16)))
    for name in precisions:
        yield f"openvino {name}", partial(Graph(model, name), planes)
    for name in precisions:
        located = LocatedWeights(path.stem, path, "0" * 64, None)
        loaded = load_network(located, device="cpu", precision=name)  # type: ignore[arg-type]
        yield f"imgpipe {name} ({loaded.runtime})", partial(_exhaust, loaded.network, windows)


def _matting(path: Path) -> Iterator[tuple[str, Call]]:
    model = read_onnx(path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    fed = session.get_inputs()[0]
    values = np.random.default_rng(0).random(fed.shape, dtype=np.float32)
    first = [session.get_outputs()[0].name]
    yield "onnxruntime fp32", partial(session.run, first, {fed.name: values})
    for name in ("fp32", *(("bf16",) if bf16_pays() else ())):
        yield f"openvino {name}", partial(Graph(model, name), values)


def _measured(what: str, calls: dict[str, Call], rounds: int) -> dict[str, Any]:
    cpu: dict[str, list[float]] = {name: [] for name in calls}
    wall: dict[str, list[float]] = {name: [] for name in calls}

    def timed(name: str) -> None:
        before, begin = time.process_time(), time.perf_counter()
        calls[name]()
        wall[name].append(time.perf_counter() - begin)
        cpu[name].append(time.process_time() - before)

    in_turns({name: partial(timed, name) for name in calls}, rounds)
    print(f"\n{what}")
    reference = min(wall.get(_REFERENCE, wall["onnxruntime fp32"])[1:])
    table = {}
    for name in calls:
        seconds = min(wall[name][1:])
        busy = cpu[name][wall[name].index(seconds)]
        table[name] = {"seconds": seconds, "cpu_seconds": busy, "times_as_fast": reference / seconds}
        print(f"  {name:<28}{seconds:9.3f} s {busy:9.3f} CPU s {reference / seconds:7.2f} times")
    return table


def _by_torch(module: torch.nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        result: torch.Tensor = module(pixels)
    return result


def _module(path: Path) -> torch.nn.Module:
    module: torch.nn.Module = spandrel.ModelLoader(device="cpu").load_from_file(path).model
    return module.eval().requires_grad_(False)


def _as_onnx(module: torch.nn.Module, folder: Path) -> Path:
    path = folder / "network.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter without further packages is the older one
        torch.onnx.export(
            module,
            (torch.zeros((1, 3, 16, 16)),),
            str(path),
            dynamo=False,
            input_names=["x"],
            output_names=["y"],
            dynamic_axes={"x": {0: "n", 2: "h", 3: "w"}},
            opset_version=17,
        )
    return path


def _exhaust(network: Any, windows: Any) -> None:
    for _ in network.strips(windows):
        pass


if __name__ == "__main__":
    sys.exit(main())
