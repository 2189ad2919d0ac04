"""Upscaling measured: exactness, speed, precision, memory and quality, beside RealESRGANer.

    python benchmarks/upscaling.py --quick                            tiny, some seconds
    python benchmarks/upscaling.py                                    small, a minute
    python benchmarks/upscaling.py --rrdb --sizes 640x480 1280x720 --exact-size 320x240 \\
        --memory-size 2048 --rounds 5 --weights realesr-animevideov3.safetensors --images stills/
    python benchmarks/upscaling.py --device cuda --gpu-sizes 512 1024 2048 --batches 1 2 4 8 16 \\
        --stage-images 64 --stage-size 1024 --compile reduce-overhead --weights ... --images ...

Everything runs side by side in one process on one machine, which should have nothing else to do; the
contenders take turns and the best of each counts. Rows of ``RealESRGANer`` appear where the
``realesrgan`` package can be imported and say so where it cannot. The network is animevideov3 where
``--weights`` names its file, else one of its architecture with seeded random weights; the 6B network
(``--rrdb``) always has those. Quality rows need real weights and ``--images``; pictures for the
other rows come from there too. Results are printed and kept as JSON, one file per machine.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import machine
import numpy as np
import skimage.metrics
import torch
import upscaling_gpu
from upscaling_contenders import (
    FLOP_PER_OUTPUT_PIXEL,
    SCALE,
    Enlarge,
    Pixels,
    enlarger,
    in_turns,
    matrix_edges,
    matrix_product,
    network_files,
    ours,
    picture,
    real_pictures,
    realesrganer,
    settings,
)

from imgpipe.host import peak_memory_bytes
from imgpipe.images.image import Image
from imgpipe.inference.device import bf16_pays, resolve_device
from imgpipe.records import ModelUse
from imgpipe.upscaling.build import build_upscaler

MATRIX = "matrix product"

#: Pictures on which the 6B network is tried: it costs nine times as much as animevideov3.
RRDB_PICTURES = 2


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    if options.peak_of:
        return _report_own_peak(options)
    device = resolve_device(options.device)
    real = real_pictures(options.images)
    with tempfile.TemporaryDirectory() as folder:
        networks = dict(network_files(options.weights, options.rrdb or device == "cuda", Path(folder)))
        results: dict[str, Any] = {"machine": _machine(device), "pictures": len(real)}
        for name, path in networks.items():
            print(f"\n{name}")
            rows = results[name] = {"speed": [], "batches": []}
            for part, measure in _parts(name, path, options, device, real):
                row = machine.tried(measure)
                rows[part] = [*rows[part], row] if part in ("speed", "batches") else row
                machine.keep(results, "upscaling", _where(device), options.output, quiet=True)
        print("\nquality")
        quality = partial(_quality, networks["animevideov3"], options, device, real)
        results["quality"] = machine.tried(quality)
    machine.keep(results, "upscaling", _where(device), options.output)
    return 0


def _parts(
    name: str, path: Path, options: argparse.Namespace, device: str, real: Sequence[Pixels]
) -> Iterator[tuple[str, Callable[[], Any]]]:
    """What is measured of one network, in order; one of speed and batches for each size."""
    is_6b = name == "anime-6b"
    sizes, some = (options.rrdb_sizes, real[:RRDB_PICTURES]) if is_6b else (options.sizes, real)
    yield "exact", partial(_exactness, path, options, device, some)
    yield "precision", partial(_precision, path, options, device, some)
    for size in sizes:
        yield "speed", partial(_speed, name, path, size, options, device, real)
    yield "memory", (lambda: {"skipped": "animevideov3 only"}) if is_6b else partial(_memory, path, options)
    for edge in options.gpu_sizes:
        yield "batches", partial(upscaling_gpu.batches, name, path, options, device, real, edge)
    if options.stage_images:
        yield "stage", partial(upscaling_gpu.stage, path, options, real)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--weights", type=Path, help="animevideov3 as .safetensors; default: random")
    parser.add_argument("--rrdb", action="store_true", help="measure the 6B architecture as well")
    parser.add_argument("--sizes", nargs="*", default=["160x120"], help="source sizes, as in 640x480")
    parser.add_argument("--rrdb-sizes", nargs="*", default=["160x120"], help="those of the 6B network")
    parser.add_argument("--tiles", nargs="+", type=int, default=[32, 50, 64, 75, 97], help="source px")
    parser.add_argument("--exact-size", default="160x120", help="source size for exactness and precision")
    parser.add_argument("--memory-size", type=int, default=256, help="edge of the source, px; 0 = leave out")
    parser.add_argument("--images", type=Path, nargs="*", default=[], help="folders of real pictures")
    parser.add_argument("--rounds", type=int, default=2, help="timed turns of each; the best counts")
    parser.add_argument("--gpu-sizes", type=int, nargs="*", default=[], help="square sources in batches, px")
    parser.add_argument(
        "--compile", help="measure torch.compile in this mode there, e.g. default, reduce-overhead"
    )
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2, 4, 8, 16], help="windows at once")
    parser.add_argument("--stage-images", type=int, default=0, help="pictures through a whole stage")
    parser.add_argument("--stage-size", type=int, default=1024, help="edge of those, px")
    parser.add_argument("--workers", type=int, default=0, help="pictures in flight there; 0 = cores + 2")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--quick", action="store_true", help="every part once on the CPU, at tiny sizes")
    parser.add_argument("--output", type=Path, help="JSON file; default: benchmarks/results/")
    parser.add_argument("--peak-of", choices=["ours", "realesrganer"], help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.quick:
        options.sizes, options.tiles, options.exact_size = ["32x24"], [32], "60x40"
        options.memory_size, options.rounds, options.device = 0, 1, "cpu"
        options.gpu_sizes, options.batches = [24], [1, 2]
        options.stage_images, options.stage_size = 2, 24
    return options


def _exactness(
    path: Path, options: argparse.Namespace, device: str, real: Sequence[Pixels]
) -> list[dict[str, Any]]:
    """Tiled against untiled in fp32 after rounding, per tile size and batch, over all pictures."""
    width, height = _size(options.exact_size)
    images = [Image(picture(width, height, real, index)) for index in range(max(1, len(real)))]
    untiled = ours(path, device, precision="fp32", tile_size=0)
    wholes = [untiled.upscale(image).image.pixels.astype(int) for image in images]
    rows = []
    for tile, batch in product(options.tiles, (1, 4)):
        upscaler = ours(path, device, precision="fp32", tile_size=tile, batch_size=batch)
        results = [upscaler.upscale(image) for image in images]
        worst = [
            int(np.abs(result.image.pixels - whole).max())
            for result, whole in zip(results, wholes, strict=True)
        ]
        row = {
            "tile_px": tile,
            "batch": batch,
            "tiles": results[0].details["tiles"],
            "images": len(images),
            "identical_images": worst.count(0),
            "max_difference_255": max(worst),
        }
        rows.append(row)
        print(f"  exact: {_shown(row)}")
    return rows


def _precision(
    path: Path, options: argparse.Namespace, device: str, real: Sequence[Pixels]
) -> dict[str, Any]:
    """The low precision against fp32, dB by picture."""
    width, height = _size(options.exact_size)
    chosen = _precisions(device)[-1]
    full, low = (ours(path, device, precision=precision, tile_size=0) for precision in ("fp32", chosen))
    values = []
    for index in range(max(1, len(real))):
        image = Image(picture(width, height, real, index))
        wanted, found = (np.asarray(each.upscale(image).image.pixels, np.uint8) for each in (full, low))
        if not np.array_equal(wanted, found):
            values.append(_psnr(wanted, found))
    row = {
        "precision": chosen,
        "least_psnr_db": min(values, default=None),
        "mean_psnr_db": statistics.fmean(values) if values else None,
    }
    print(f"  precision: {_shown(row)}")
    return row


def _speed(
    name: str, path: Path, size: str, options: argparse.Namespace, device: str, real: Sequence[Pixels]
) -> dict[str, Any]:
    """Seconds per picture from uint8 to uint8, and the share of the machine's matrix-product rate."""
    width, height = _size(size)
    pixels = picture(width, height, real)
    flop = FLOP_PER_OUTPUT_PIXEL[name] * width * height * SCALE**2
    settings_tried = _precisions(device)
    calls: dict[str, Callable[[], object]] = {}
    used: dict[str, ModelUse] = {}
    forms: dict[str, str] = {}
    skipped: dict[str, str] = {}
    product_flop: dict[tuple[str, int], float] = {}
    for setting in settings_tried:
        upscaler = ours(path, device, precision=setting)
        label = f"ours {setting}"
        way = upscaler.model.precision, upscaler._loaded.runtime
        if any(way == (used[other].precision, forms[other]) for other in used):
            skipped[label] = "the same as another"
            continue
        used[label], forms[label] = upscaler.model, way[1]
        calls[label] = partial(enlarger(upscaler), pixels)
    products = product(dict.fromkeys(model.precision for model in used.values()), matrix_edges(device))
    for precision, edge in products:
        call, product_flop[precision, edge] = matrix_product(precision, device, edge, once=options.quick)
        calls[f"{MATRIX} {precision} {edge}"] = call
    for tile in (512, 0):
        contender = realesrganer(name, path, tile, device)
        if isinstance(contender, str):
            skipped[f"RealESRGANer tile {tile}"] = contender
        else:
            calls[f"RealESRGANer tile {tile}"] = partial(contender, pixels)
    best = in_turns(calls, options.rounds, skipped)
    rates: dict[str, float] = {}
    for (precision, edge), flops in product_flop.items():
        seconds = best.get(f"{MATRIX} {precision} {edge}", float("inf"))
        rates[precision] = max(rates.get(precision, 0.0), flops / seconds)
    theirs = min((best[label] for label in best if label.startswith("RealESRGANer")), default=None)
    rows: dict[str, Any] = {"size": size, "skipped": skipped}
    rows |= {f"{MATRIX} {precision}": {"gflops": rate / 1e9} for precision, rate in rates.items()}
    for label, model in used.items():
        if label not in best:
            continue
        seconds = best[label]
        rows[label] = {
            "precision": model.precision,
            "runtime": forms[label],
            "seconds": seconds,
            "gflops": flop / seconds / 1e9,  # of direct convolutions, however it was computed
            "share_of_matrix_product": flop / seconds / rates[model.precision]
            if rates[model.precision]
            else None,
            "times_realesrganer": None if theirs is None else theirs / seconds,
        }
    for label, seconds in best.items():
        if label.startswith("RealESRGANer"):
            rows[label] = {"seconds": seconds, "gflops": flop / seconds / 1e9}
    for label, row in rows.items():
        print(f"  {size} {label}: {_shown(row)}")
    return rows


def _precisions(device: str) -> list[str]:
    """The settings worth a row: what is chosen, fp32, and the low precision that the device has."""
    low = "bf16" if device != "cpu" or bf16_pays() else "fp32"
    return list(dict.fromkeys(("auto", "fp32", low)))


def _memory(path: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Peak resident set of a fresh process that enlarges one square picture on the CPU."""
    if not options.memory_size:
        return {"skipped": "--memory-size 0"}
    rows: dict[str, Any] = {"edge_px": options.memory_size}
    for who in ("ours", "realesrganer"):
        command = [sys.executable, __file__, "--peak-of", who, "--weights", str(path)]
        command += ["--memory-size", str(options.memory_size), "--device", "cpu"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        rows[who] = json.loads(done.stdout.splitlines()[-1])
        print(f"  {options.memory_size}^2 peak of {who}: {rows[who]}")
    return rows


def _report_own_peak(options: argparse.Namespace) -> int:
    pixels = picture(options.memory_size, options.memory_size, ())
    before = peak_memory_bytes()
    name = "anime-6b" if options.weights.stem == "anime-6b" else "animevideov3"
    if options.peak_of == "ours":
        ours(options.weights, "cpu").upscale(Image(pixels))
    else:
        enhance = realesrganer(name, options.weights, 512, "cpu")
        if isinstance(enhance, str):
            print(json.dumps({"skipped": enhance}))
            return 0
        enhance(pixels)
    peak = peak_memory_bytes()
    print(json.dumps({"peak_rss_mib": round(peak / 2**20), "before_mib": round(before / 2**20)}))
    return 0


def _quality(path: Path, options: argparse.Namespace, device: str, real: Sequence[Pixels]) -> Any:
    """Real pictures reduced by 4 with an area filter, enlarged again, compared with themselves."""
    if options.weights is None or not real:
        return {"skipped": "needs --weights and --images"}
    methods: dict[str, Enlarge | str] = {
        "nearest": lambda small: np.repeat(np.repeat(small, SCALE, 0), SCALE, 1),
        "lanczos": enlarger(build_upscaler(settings("lanczos"), model_dir=Path())),
        "RealESRGANer": realesrganer("animevideov3", path, 0, device),
        "ours": enlarger(ours(path, device)),
        "ours without color_match": enlarger(ours(path, device, color_match=False)),
    }
    table: dict[str, Any] = {}
    for name, enlarge in methods.items():
        if isinstance(enlarge, str):
            table[name] = {"skipped": enlarge}
            continue
        scores = [_scores(enlarge, pixels) for pixels in real]
        table[name] = {key: statistics.fmean(score[key] for score in scores) for key in scores[0]}
        table[name]["largest_color_shift_255"] = max(score["color_shift_255"] for score in scores)
        print(f"  {name}: {_shown(table[name])}")
    return table


def _scores(enlarge: Enlarge, reference: Pixels) -> dict[str, float]:
    height, width = reference.shape[:2]
    small = cv2.resize(reference, (width // SCALE, height // SCALE), interpolation=cv2.INTER_AREA)
    result = enlarge(np.ascontiguousarray(small))
    again = cv2.resize(
        result.astype(np.float32), (width // SCALE, height // SCALE), interpolation=cv2.INTER_AREA
    )
    ssim = skimage.metrics.structural_similarity(
        reference,
        result,
        channel_axis=2,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=255,
    )
    return {
        "psnr_db": _psnr(reference, result),
        "ssim": float(ssim),
        "color_shift_255": float(np.abs((again - small).mean(axis=(0, 1))).max()),
    }


def _machine(device: str) -> dict[str, Any]:
    return machine.describe(
        threads=torch.get_num_threads(),
        device=torch.cuda.get_device_name() if device == "cuda" else "cpu",
        torch=torch.__version__,
        compiler=machine.compiler(),
    )


def _where(device: str) -> str:
    name = torch.cuda.get_device_name() if device == "cuda" else machine.cpu_name()
    return machine.slug(name, torch.get_num_threads(), "threads")


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    return int(width), int(height)


def _psnr(reference: Pixels, result: Pixels) -> float:
    return float(skimage.metrics.peak_signal_noise_ratio(reference, result, data_range=255))


def _shown(row: Any) -> str:
    if not isinstance(row, dict):
        return f"{row:.4g}" if isinstance(row, float) else str(row)
    return ", ".join(f"{key} {_shown(value)}" for key, value in row.items())


if __name__ == "__main__":
    sys.exit(main())
