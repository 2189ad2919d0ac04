"""The quality room measured: speed and memory, correctness, and which planted defects it sees.

    python benchmarks/quality.py --quick                  everything at a small size, a minute
    python benchmarks/quality.py --speed                  4096 x 4096 RGB, beside scikit-image
    python benchmarks/quality.py --correct                60 pairs against scikit-image, 8 and 16 bits
    python benchmarks/quality.py --defects                the defect bench: drawings and real pictures
    python benchmarks/quality.py --outside                mattes good, soft and damaged: mattes/outside.py
    python benchmarks/quality.py --outside --hard         tone, text, ramps, enlarged: enlargements/hard.py
    python benchmarks/quality.py --outside --enlargements fine damage: enlargements/outside.py
    python benchmarks/quality.py --outside --worst P.html the worst verdicts with pictures: worst.py
    python benchmarks/quality.py                          all but --outside

Speed is measured on one core (OpenCV gets one thread, and the process is bound to a core where the system
can), SSIM also on all that there are, for both sides. Memory is what a fresh process adds to its peak
while it computes. Results are printed and kept as JSON, one file per machine.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import defect_bench
import machine
import numpy as np
from enlargements import hard
from enlargements import outside as enlargements
from mattes import outside
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from imgpipe.host import peak_memory_bytes
from imgpipe.images.image import Image
from imgpipe.quality.diff import diff_png
from imgpipe.quality.psnr import psnr
from imgpipe.quality.score import MatteEvidence, score
from imgpipe.quality.ssim import ssim, ssim_map
from imgpipe.records import TileGrid
from imgpipe.settings import QualitySettings
from imgpipe_tests.quality.defects import DEFECTS, plant
from imgpipe_tests.quality.drawings import U8, area, draw, enlarge

FULL_PX, QUICK_PX = 4096, 512
SSIM_FASTER, SSIM_EXTRA_MB, PSNR_COPIES, VERDICT_SECONDS = 30.0, 100.0, 2.0, 1.5
MAP_TOLERANCE, MEAN_TOLERANCE, PSNR_TOLERANCE_DB = 1e-4, 1e-5, 1e-6
PAIRS = 60


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    if options.peak_of:
        print(json.dumps(_peak(options.peak_of, options.size)))
        return 0
    versions = {"opencv": cv2.__version__, "skimage": version("scikit-image"), "numpy": np.__version__}
    results: dict[str, Any] = {"machine": machine.describe(**versions)}
    if options.speed:
        results["speed"] = _speed(options)
    if options.correct:
        results["correct"] = _correct(options.pairs)
    if options.defects:
        results["defects"] = defect_bench.defect_bench(options)
    if options.outside:
        name = "enlargements" if options.enlargements else "hard" if options.hard else "outside"
        results[name] = {"enlargements": enlargements, "hard": hard, "outside": outside}[name].measure(
            options
        )
    machine.keep(results, "quality", machine.slug(machine.cpu_name()), options.output)
    return 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for part in ("speed", "correct", "defects", "outside"):
        parser.add_argument(f"--{part}", action="store_true", help="this part only (may be combined)")
    parser.add_argument("--quick", action="store_true", help="small pictures, few of them")
    parser.add_argument("--size", type=int, default=FULL_PX, help="edge of the pictures of --speed, px")
    parser.add_argument("--repeat", type=int, default=3, help="timed runs; the median counts")
    parser.add_argument("--pairs", type=int, default=PAIRS, help="pairs of --correct")
    parser.add_argument("--drawn", type=int, default=100, help="clean drawings per group")
    parser.add_argument("--planted", type=int, default=28, help="results per group that defects go into")
    parser.add_argument("--real", type=int, default=99, help="real pictures, each in several crops")
    parser.add_argument("--matte-seeds", type=int, default=3, help="casts of the sample drawings for mattes")
    parser.add_argument("--mattes", type=Path, help="folder of real mattes for --outside")
    parser.add_argument(
        "--hard", type=int, nargs="?", const=24, metavar="N", help="--outside: hard sources a kind"
    )
    parser.add_argument("--enlargements", action="store_true", help="--outside of enlargements, not mattes")
    parser.add_argument("--worst", type=Path, metavar="FILE.html", help="--outside: page of the 20 worst")
    parts = ("seen", "unseen", "both", "photographs")
    parser.add_argument(
        "--part", default="both", choices=parts, help="of --outside; the last of --enlargements"
    )
    parser.add_argument("--kinds", nargs="+", choices=sorted(DEFECTS), help="only these defects")
    parser.add_argument("--keep", type=Path, help="folder for the network's results, to be read next time")
    parser.add_argument("--output", type=Path, help="JSON file; default: benchmarks/results/")
    parser.add_argument("--peak-of", choices=sorted(_PEAKS), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if not (options.speed or options.correct or options.defects or options.outside):
        options.speed = options.correct = options.defects = True
    if options.quick:
        options.size, options.repeat, options.pairs = QUICK_PX, 1, 10
        options.drawn, options.planted, options.real, options.matte_seeds = 4, 2, 1, 1
    return options


def _one_core() -> bool:
    """OpenCV on one thread, and this process on one core; False where the system cannot bind it."""
    cv2.setNumThreads(1)
    if not hasattr(os, "sched_setaffinity"):
        return False
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    return True


# ---------------------------------------------------------------- speed


def _speed(options: argparse.Namespace) -> dict[str, Any]:
    size, repeat = options.size, options.repeat
    clean, noisy = _pair(size)
    on_all = (
        machine.median_seconds(lambda: ssim(clean, noisy), repeat),
        machine.median_seconds(lambda: _skimage_ssim(clean, noisy), 1),
    )
    bound = _one_core()
    print(f"\n{size} x {size} RGB, median of {repeat}; on one core unless said otherwise")
    copy = machine.median_seconds(lambda: clean.copy(), repeat)
    ours = {"psnr": machine.median_seconds(lambda: psnr(clean, noisy), repeat)}
    ours["ssim"] = machine.median_seconds(lambda: ssim(clean, noisy), repeat)
    theirs = machine.median_seconds(lambda: _skimage_ssim(clean, noisy), 1)
    memory = {name: _fresh_peak(name, size) for name in ("ssim", "psnr", "skimage_ssim")}
    results: dict[str, Any] = {
        "size_px": size,
        "bound_to_one_core": bound,
        "ssim_seconds_all_cores": on_all[0],
        "skimage_ssim_seconds_all_cores": on_all[1],
        "ssim_times_faster_all_cores": on_all[1] / on_all[0],
        "memory_copy_seconds": copy,
        "psnr_seconds": ours["psnr"],
        "psnr_in_copies": ours["psnr"] / copy,
        "ssim_seconds": ours["ssim"],
        "skimage_ssim_seconds": theirs,
        "ssim_times_faster": theirs / ours["ssim"],
        "extra_memory_mb": memory,
        "verdict": {name: _verdict(name, size, repeat) for name in VERDICTS},
    }
    print(f"  PSNR {ours['psnr'] * 1e3:.2f} ms, a memory copy {copy * 1e3:.2f} ms")
    print(f"  SSIM {ours['ssim']:.3f} s, scikit-image {theirs:.1f} s: {theirs / ours['ssim']:.1f} times")
    ratio = on_all[1] / on_all[0]
    print(f"  on all cores: SSIM {on_all[0]:.3f} s, scikit-image {on_all[1]:.1f} s: {ratio:.1f} times")
    print("  extra memory, MB: " + ", ".join(f"{name} {value:.0f}" for name, value in memory.items()))
    _print_verdicts(results["verdict"])
    results["targets"] = {
        f"SSIM at least {SSIM_FASTER:g} times faster on all cores": ratio >= SSIM_FASTER,
        f"SSIM at most {SSIM_EXTRA_MB:g} MB more": memory["ssim"] <= SSIM_EXTRA_MB,
        f"PSNR at most {PSNR_COPIES:g} copies": ours["psnr"] / copy <= PSNR_COPIES,
        f"verdict at most {VERDICT_SECONDS:g} s": results["verdict"]["enlarged 4x"]["seconds"]
        <= VERDICT_SECONDS,
    }
    print("  " + ", ".join(f"{name}: {'yes' if met else 'NO'}" for name, met in results["targets"].items()))
    return results


#: What is judged, by name -> the source's edge / the result's.
VERDICTS = {
    "enlarged 4x": 0.25,
    "enlarged 4x, no tile grid": 0.25,
    "enlarged 2x": 0.5,
    "cutout, enlarged 4x, with its matte": 0.25,
    "of one size": 1.0,
}


def _verdict(name: str, size: int, repeat: int) -> dict[str, Any]:
    """Seconds of the whole verdict on a result of ``size``, of its parts, and of diff.png beside it."""
    source_px = max(1, round(size * VERDICTS[name]))
    clean, noisy = _pair(size)
    small = area(clean, size // source_px) if source_px < size else clean
    source = Image(small)
    result = Image(enlarge(small, size // source_px) if source_px < size else noisy)
    cuts = tuple(range(source_px // 4, source_px, source_px // 4))
    grid = None if "no tile grid" in name else TileGrid(cuts, cuts, size / source_px)
    matte = None
    if "cutout" in name:
        cutout = _with_alpha(source)
        matte, source, result = MatteEvidence(source, cutout), cutout, _with_alpha(result)
    reports = []

    def judge() -> None:
        reports.append(score(source, result, settings=QualitySettings(), tile_grid=grid, matte=matte))

    seconds = machine.median_seconds(judge, repeat)
    return {
        "seconds": seconds,
        "parts": dict(reports[-1].seconds),
        "diff_seconds": machine.median_seconds(lambda: diff_png(source, result), 1),
    }


def _with_alpha(image: Image) -> Image:
    alpha = np.zeros((image.height, image.width), np.uint8)
    centre = image.width // 2, image.height // 2
    axes = round(image.width * 0.3), round(image.height * 0.41)
    cv2.ellipse(alpha, centre, axes, 20, 0, 360, 255, -1, cv2.LINE_AA)
    return Image(np.dstack([image.pixels, alpha]).astype(np.uint8))


def _print_verdicts(verdicts: dict[str, Any]) -> None:
    parts = list(dict.fromkeys(part for row in verdicts.values() for part in row["parts"]))
    print("\n  seconds of a verdict" + "".join(f"{part:>12}" for part in ["whole", *parts, "diff.png"]))
    for name, row in verdicts.items():
        numbers = [row["seconds"], *(row["parts"].get(part, 0.0) for part in parts), row["diff_seconds"]]
        print(f"  {name}\n" + " " * 22 + "".join(f"{number:12.3f}" for number in numbers))


def _skimage_ssim(a: U8, b: U8) -> float:
    return float(
        structural_similarity(
            a,
            b,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=255,
            channel_axis=2,
        )
    )


_PEAKS: dict[str, Callable[[U8, U8], object]] = {"ssim": ssim, "psnr": psnr, "skimage_ssim": _skimage_ssim}


def _fresh_peak(name: str, size: int) -> float:
    """MB that a new process's peak grows by while it computes ``name`` once."""
    command = [sys.executable, __file__, "--peak-of", name, "--size", str(size)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout.splitlines()[-1])["extra_mb"])


def _peak(name: str, size: int) -> dict[str, float]:
    rng = np.random.default_rng(0)
    clean = rng.integers(0, 256, (size, size, 3), np.uint8)
    noisy = clean.copy()
    noisy[::2] ^= 1
    small = np.ascontiguousarray(clean[:64, :64])
    _PEAKS[name](small, small ^ np.uint8(1))  # what is loaded and allocated once is no extra
    before = peak_memory_bytes()
    _PEAKS[name](clean, noisy)
    return {"extra_mb": (peak_memory_bytes() - before) / 1e6}


def _pair(size: int) -> tuple[U8, U8]:
    clean = draw(1, size // 4, size // 4, 4)
    noise = np.random.default_rng(0).integers(-4, 5, clean.shape, np.int16)
    return clean, np.clip(clean + noise, 0, 255).astype(np.uint8)


# ---------------------------------------------------------------- correctness


def _correct(count: int) -> dict[str, Any]:
    """Largest errors of SSIM and PSNR against scikit-image in float64."""
    worst = {"ssim_map": 0.0, "ssim_mean": 0.0, "psnr_db": 0.0}
    kinds: dict[str, int] = {}
    for kind, a, b in _pairs(count):
        kinds[kind] = kinds.get(kind, 0) + 1
        mean, whole = structural_similarity(
            a.astype(np.float64),
            b.astype(np.float64),
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=255,
            channel_axis=2,
            full=True,
        )
        truth_db = peak_signal_noise_ratio(a.astype(np.float64), b.astype(np.float64), data_range=255)
        errors = {
            "ssim_map": float(np.abs(ssim_map(a, b) - whole[5:-5, 5:-5].mean(axis=2)).max()),
            "ssim_mean": abs(float(ssim(a, b) or 0.0) - float(mean)),
            "psnr_db": abs(float(psnr(a, b) or 0.0) - float(truth_db)),
        }
        worst = {name: max(worst[name], error) for name, error in errors.items()}
    within = (
        worst["ssim_map"] <= MAP_TOLERANCE
        and worst["ssim_mean"] <= MEAN_TOLERANCE
        and worst["psnr_db"] <= PSNR_TOLERANCE_DB
    )
    print(f"\n{sum(kinds.values())} pairs {kinds}: " + ", ".join(f"{k} {v:.1e}" for k, v in worst.items()))
    return {"pairs": kinds, "largest_error": worst, "within_tolerance": within}


def _pairs(count: int) -> Iterator[tuple[str, Any, Any]]:
    """(kind, reference, distorted): damaged drawings and real pictures, 8 bits, and 16 bits as float."""
    sources = [(f"real {path.name}", crop) for path in _real_files() for _, crop in defect_bench.crops(path)]
    names = sorted(DEFECTS)
    for number in range(count):
        if number % 2 and sources:
            picture, what = sources[number // 2 % len(sources)][1], "real"
        else:
            picture, what = draw(number, 80, 60, 4), "drawn"
        damaged = plant(names[number % len(names)], picture, number % 3, seed=number)
        if damaged is None:
            damaged = plant("noise", picture, number % 3, seed=number)
        assert damaged is not None, "noise can be added to every picture"
        if number % 4 < 2:
            yield f"{what}, 8 bits", picture, damaged
        else:  # what a 16-bit file holds: values between the 8-bit ones, as float32 on 0..255
            fine = np.random.default_rng(number).integers(0, 257, picture.shape)
            a, b = (
                (np.clip(pixels * 257.0 + fine - 128, 0, 65535) / 257.0).astype(np.float32)
                for pixels in (picture, damaged)
            )
            yield f"{what}, 16 bits", a, b


def _real_files() -> list[Path]:
    data = defect_bench.ROOT.parent / "shared" / "data"
    return [*sorted(data.glob("sr/*.png")), *sorted(data.glob("anime/frame-*.png"))]


if __name__ == "__main__":
    sys.exit(main())
