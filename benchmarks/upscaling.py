"""Upscaling measured: exactness, speed, precision, memory and quality, beside RealESRGANer.

    python benchmarks/upscaling.py                                    small, a minute
    python benchmarks/upscaling.py --sizes 640x480 1280x720 --memory-size 2048 --repeat 5 \\
        --weights realesr-animevideov3.safetensors --images stills/

Everything runs side by side in one process on one machine, which should have nothing else to do. Rows of
``RealESRGANer`` appear where the ``realesrgan`` package can be imported and say so where it cannot. The
network is animevideov3 where ``--weights`` names its file, else one of its architecture with seeded
random weights; the 6B network (``--rrdb``) always has seeded random weights. Quality rows need real weights
and ``--images``. Results are printed and kept as JSON, one file per machine.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import skimage.metrics
import torch
from safetensors.torch import load_file, save_file
from spandrel.architectures.Compact import Compact
from spandrel.architectures.ESRGAN import ESRGAN

from imgpipe.images.image import Image
from imgpipe.inference.device import resolve_device, resolve_precision
from imgpipe.settings import UpscaleSettings
from imgpipe.upscaling.build import build_upscaler
from imgpipe.upscaling.upscaler import Upscaler

RESULTS = Path(__file__).parent / "results"
FLOP_PER_OUTPUT_PIXEL = {"animevideov3": 77_400, "anime-6b": 713_304}
SCALE = 4

Pixels = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    if options.peak_of:
        return _report_own_peak(options)
    device = resolve_device(options.device)
    with tempfile.TemporaryDirectory() as folder:
        networks = dict(_network_files(options, Path(folder)))
        results: dict[str, Any] = {"machine": _machine(device)}
        for name, path in networks.items():
            print(f"\n{name}")
            results[name] = {
                "exact": _exactness(path, options, device),
                "precision": _precision(path, options, device),
                "speed": [_speed(name, path, size, options, device) for size in options.sizes],
                "memory": _memory(path, options),
            }
        results["quality"] = _quality(networks["animevideov3"], options, device)
    output = options.output or RESULTS / f"upscaling-{_slug(device)}.json"
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(f"\nkept in {output}")
    return 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--weights", type=Path, help="animevideov3 as .safetensors; default: random")
    parser.add_argument("--rrdb", action="store_true", help="measure the 6B architecture as well")
    parser.add_argument("--sizes", nargs="+", default=["160x120"], help="source sizes, as in 640x480")
    parser.add_argument("--tiles", nargs="+", type=int, default=[32, 50, 64, 75, 97], help="source px")
    parser.add_argument("--exact-size", default="160x120", help="source size for exactness and precision")
    parser.add_argument("--memory-size", type=int, default=256, help="edge of the source, px; 0 = leave out")
    parser.add_argument("--images", type=Path, help="folder of real pictures for the quality table")
    parser.add_argument("--repeat", type=int, default=2, help="timed runs; the median counts")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--output", type=Path, help="JSON file; default: benchmarks/results/")
    parser.add_argument("--peak-of", choices=["ours", "realesrganer"], help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


# ---------------------------------------------------------------- what is measured


def _exactness(path: Path, options: argparse.Namespace, device: str) -> list[dict[str, Any]]:
    """Tiled against untiled in fp32 after rounding, per tile size."""
    image = Image(_picture(*_size(options.exact_size)))
    whole = _ours(path, device, precision="fp32", tile_size=0).upscale(image).image.pixels.astype(int)
    rows = []
    for tile in options.tiles:
        result = _ours(path, device, precision="fp32", tile_size=tile).upscale(image)
        difference = np.abs(result.image.pixels - whole)
        row = {
            "tile_px": tile,
            "tiles": result.details["tiles"],
            "max_difference_255": int(difference.max()),
            "differing_share": float((difference > 0).mean()),
        }
        rows.append(row)
        print(f"  tile {tile}: {row['tiles']} tiles, max difference {row['max_difference_255']} of 255")
    return rows


def _precision(path: Path, options: argparse.Namespace, device: str) -> dict[str, Any]:
    """The automatic precision against fp32."""
    image = Image(_picture(*_size(options.exact_size)))
    chosen = resolve_precision("auto", device)
    results = [
        _ours(path, device, precision=precision, tile_size=0).upscale(image).image.pixels
        for precision in ("fp32", chosen)
    ]
    psnr_db = None if np.array_equal(*results) else round(_psnr(*results), 2)
    print(f"  {chosen} against fp32: {psnr_db} dB")
    return {"precision": chosen, "psnr_db": psnr_db}


def _speed(name: str, path: Path, size: str, options: argparse.Namespace, device: str) -> dict[str, Any]:
    """Seconds per picture, network share, and the share of the machine's matrix-product rate."""
    width, height = _size(size)
    pixels = _picture(width, height)
    flop = FLOP_PER_OUTPUT_PIXEL[name] * width * height * SCALE**2
    rows: dict[str, Any] = {"size": size}
    for precision in dict.fromkeys(("fp32", resolve_precision("auto", device))):
        upscaler = _ours(path, device, precision=precision)
        seconds = _timed(lambda u=upscaler: u.upscale(Image(pixels)), options.repeat)
        rate = flop / seconds / 1e9
        rows[f"ours {precision}"] = {
            "seconds": seconds,
            "gflops": rate,
            "share_of_matmul": rate / _matmul_gflops(precision, device),
        }
    for tile in (512, 0):
        enhance = _realesrganer(name, path, tile, device)
        if isinstance(enhance, str):
            rows[f"RealESRGANer tile {tile}"] = {"skipped": enhance}
            continue
        seconds = _timed(lambda run=enhance: run(pixels), options.repeat)
        rows[f"RealESRGANer tile {tile}"] = {"seconds": seconds, "gflops": flop / seconds / 1e9}
    for label, row in rows.items():
        if label != "size":
            print(f"  {size} {label}: " + ", ".join(f"{k} {_shown(v)}" for k, v in row.items()))
    return rows


def _memory(path: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Peak resident set of a fresh process that enlarges one square picture."""
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
    import resource

    pixels = _picture(options.memory_size, options.memory_size)
    name = "anime-6b" if options.weights.stem == "anime-6b" else "animevideov3"
    if options.peak_of == "ours":
        _ours(options.weights, "cpu", precision="auto").upscale(Image(pixels))
    else:
        enhance = _realesrganer(name, options.weights, 512, "cpu")
        if isinstance(enhance, str):
            print(json.dumps({"skipped": enhance}))
            return 0
        enhance(pixels)
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"peak_rss_mib": round(peak_kib / 1024)}))
    return 0


def _quality(path: Path, options: argparse.Namespace, device: str) -> Any:
    """Real pictures reduced by 4 with an area filter, enlarged again, compared with themselves."""
    if options.weights is None or options.images is None:
        return {"skipped": "needs --weights and --images"}
    methods: dict[str, Callable[[Pixels], Pixels] | str] = {
        "nearest": lambda small: np.repeat(np.repeat(small, SCALE, 0), SCALE, 1),
        "lanczos": _enlarger(build_upscaler(_settings("lanczos"), model_dir=Path())),
        "RealESRGANer": _realesrganer("animevideov3", path, 0, device),
        "ours": _enlarger(_ours(path, device, precision="auto")),
        "ours without color_match": _enlarger(_ours(path, device, precision="auto", color_match=False)),
    }
    table: dict[str, Any] = {}
    for name, enlarge in methods.items():
        if isinstance(enlarge, str):
            table[name] = {"skipped": enlarge}
            continue
        scores = [_scores(enlarge, pixels) for pixels in _real_pictures(options.images)]
        table[name] = {key: statistics.fmean(score[key] for score in scores) for key in scores[0]}
        print(f"  {name}: " + ", ".join(f"{k} {_shown(v)}" for k, v in table[name].items()))
    return table


def _scores(enlarge: Callable[[Pixels], Pixels], reference: Pixels) -> dict[str, float]:
    height, width = reference.shape[:2]
    small = cv2.resize(reference, (width // SCALE, height // SCALE), interpolation=cv2.INTER_AREA)
    result = enlarge(small)
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


# ---------------------------------------------------------------- what is compared


def _settings(model: str, **settings: Any) -> UpscaleSettings:
    return UpscaleSettings(model=model, scale=SCALE, **settings)


def _ours(path: Path, device: str, **settings: Any) -> Upscaler:
    return build_upscaler(_settings(str(path), **settings), model_dir=path.parent, device=device)


def _enlarger(upscaler: Upscaler) -> Callable[[Pixels], Pixels]:
    return lambda pixels: upscaler.upscale(Image(np.ascontiguousarray(pixels))).image.pixels


def _realesrganer(name: str, path: Path, tile: int, device: str) -> Callable[[Pixels], Pixels] | str:
    """RealESRGANer with its defaults (halo 10, fp16 on GPUs) on RGB pixels, or why there is none."""
    # basicsr imports a torchvision module that is gone since 0.17; it holds one function that it needs.
    alias = types.ModuleType("torchvision.transforms.functional_tensor")
    try:
        from torchvision.transforms.functional import rgb_to_grayscale

        alias.rgb_to_grayscale = rgb_to_grayscale  # type: ignore[attr-defined]
        sys.modules.setdefault(alias.__name__, alias)
        from basicsr.archs.rrdbnet_arch import RRDBNet
        from realesrgan import RealESRGANer
        from realesrgan.archs.srvgg_arch import SRVGGNetCompact
    except ImportError as exc:
        return f"the realesrgan package cannot be imported: {exc}"
    if name == "anime-6b":
        network = RRDBNet(3, 3, num_feat=64, num_block=6, num_grow_ch=32, scale=SCALE)
    else:
        network = SRVGGNetCompact(3, 3, num_feat=64, num_conv=16, upscale=SCALE, act_type="prelu")
    state = load_file(path)
    if name == "anime-6b":  # the file has the older names of the same tensors, in the same order
        state = dict(zip(network.state_dict(), state.values(), strict=True))
    with tempfile.NamedTemporaryFile(suffix=".pth") as file:
        torch.save({"params": state}, file.name)
        upsampler = RealESRGANer(
            SCALE, file.name, model=network, tile=tile, half=device == "cuda", device=torch.device(device)
        )
    return lambda pixels: upsampler.enhance(pixels[..., ::-1], outscale=SCALE)[0][..., ::-1]


# ---------------------------------------------------------------- pictures, networks, machine


def _network_files(options: argparse.Namespace, folder: Path) -> Iterator[tuple[str, Path]]:
    torch.manual_seed(0)
    if options.weights is not None:
        yield "animevideov3", options.weights
    else:
        path = folder / "animevideov3.safetensors"
        _save(Compact(num_feat=64, num_conv=16, upscale=SCALE), path)
        yield "animevideov3", path
    if options.rrdb:
        path = folder / "anime-6b.safetensors"
        _save(ESRGAN(in_nc=3, out_nc=3, num_filters=64, num_blocks=6, scale=SCALE), path)
        yield "anime-6b", path


def _save(network: torch.nn.Module, path: Path) -> None:
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, path)


def _picture(width: int, height: int) -> Pixels:
    """Seeded soft shapes with hard lines on them."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    waves = [np.sin(x / (23 + 7 * i)) * np.cos(y / (31 - 5 * i)) for i in range(3)]
    pixels = ((0.5 + 0.4 * np.stack(waves, axis=-1)) * 255).astype(np.uint8)
    rng = np.random.default_rng(0)
    for _ in range(20):
        start, stop = (tuple(int(v) for v in rng.integers(0, (width, height))) for _ in range(2))
        cv2.line(pixels, start, stop, (20, 15, 30), 2, cv2.LINE_AA)
    return pixels


def _real_pictures(folder: Path) -> Iterator[Pixels]:
    for path in sorted(folder.iterdir()):
        pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if pixels is None:
            continue
        height, width = (side // SCALE * SCALE for side in pixels.shape[:2])
        yield np.ascontiguousarray(pixels[:height, :width, ::-1])


def _timed(call: Callable[[], object], repeat: int) -> float:
    call()
    times = []
    for _ in range(repeat):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def _matmul_gflops(precision: str, device: str) -> float:
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    edge = 1024 if device == "cpu" else 8192
    a, b = (torch.rand(edge, edge, device=device).to(dtype) for _ in range(2))

    def product() -> None:
        torch.mm(a, b)
        if device != "cpu":
            torch.cuda.synchronize()

    return 2 * edge**3 / _timed(product, 5) / 1e9


def _machine(device: str) -> dict[str, Any]:
    return {
        "cpu": _cpu_name(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "torch": torch.__version__,
        "python": platform.python_version(),
        "matmul_gflops": {
            precision: _matmul_gflops(precision, device)
            for precision in dict.fromkeys(("fp32", resolve_precision("auto", device)))
        },
    }


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _slug(device: str) -> str:
    name = torch.cuda.get_device_name() if device == "cuda" else _cpu_name()
    words = "".join(sign.lower() if sign.isalnum() else " " for sign in name).split()
    return "-".join([*words, str(torch.get_num_threads()), "threads"])


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    return int(width), int(height)


def _psnr(reference: Pixels, result: Pixels) -> float:
    return float(skimage.metrics.peak_signal_noise_ratio(reference, result, data_range=255))


def _shown(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main())
