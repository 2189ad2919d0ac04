"""Networks of our own beside Lanczos and others' networks: fidelity, colour and speed.

    python benchmarks/networks.py --networks imgpipe-lite-x4.safetensors realesr-animevideov3.safetensors \\
        --images ../shared/data/anime ../shared/data/sr ../shared/data/real --pictures pages

Opaque 8-bit pictures are reduced with an area filter, enlarged again by every network through the package's
own upscaler, and compared with themselves: PSNR and SSIM as scikit-image has them by default, and how far the
mean colour moved. Once as they are, once with the small picture re-saved as JPEG of quality 85, and once with
held-out drawings of the training's generator. Networks of the 6B kind see the first pictures only.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import machine
import numpy as np
import PIL.Image
import skimage.metrics
from upscaling_contenders import Enlarge, Pixels, enlarger, in_turns

from imgpipe.inference.device import PrecisionSetting
from imgpipe.settings import UpscaleSettings
from imgpipe.upscaling.build import build_upscaler
from imgpipe.upscaling.network import Floats, Network
from imgpipe.upscaling.network_upscaler import NetworkUpscaler
from training.drawing import STYLES, draw
from training.pool import HELD_OUT

LANCZOS = "lanczos"
JPEG_QUALITY = 85
#: Larger files are networks of the 6B kind: a minute a picture.
SLOW_BYTES = 8 << 20
SLOW_PICTURES = 4
DRAWINGS_PER_STYLE = 6
Rows = dict[str, dict[str, dict[str, float]]]


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    options = _options(arguments)
    methods = {LANCZOS: partial(_upscaler, LANCZOS, options.scale)}
    methods |= {path.stem: partial(_upscaler, str(path), options.scale) for path in options.networks}
    slow = {path.stem for path in options.networks if path.stat().st_size > SLOW_BYTES}
    enlarge = {name: build() for name, build in methods.items()}
    count = 1 if options.quick else DRAWINGS_PER_STYLE
    pictures = real_pictures(options.images, options.scale)
    drawings: dict[str, Pixels] = {
        f"{style} {seed}": draw(HELD_OUT + seed, 384, style) for style in STYLES for seed in range(count)
    }
    results: dict[str, Any] = {"machine": machine.describe(), "scale": options.scale}
    for part, wanted, spoil in (
        ("real", pictures, None),
        ("real as JPEG", pictures, partial(resaved, quality=JPEG_QUALITY)),
        ("drawings", drawings, None),
    ):
        rows = results[part] = compared(enlarge, wanted, options.scale, slow, spoil)
        results[f"{part}, summary"] = summary(rows)
        for style in STYLES if wanted is drawings else ():
            some = {
                method: {name: score for name, score in row.items() if name.startswith(style)}
                for method, row in rows.items()
            }
            results[f"{style} drawings, summary"] = summary(some)
        print(part, json.dumps(results[f"{part}, summary"], indent=1), sep="\n")
    paths = [path for path in options.networks if path.stem not in slow]
    for precision in ("fp32", "auto"):
        timed = results[f"256x256, {precision}"] = speed(paths, options.scale, precision, options.quick)
        print(precision, json.dumps(timed, indent=1))
    if options.pictures:
        side_by_side(enlarge, pictures, options.scale, slow, options.pictures)
    machine.keep(results, f"networks-x{options.scale}", machine.slug(machine.cpu_name()), options.output)
    return 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--networks", type=Path, nargs="*", default=[], help="weights files")
    parser.add_argument("--images", type=Path, nargs="*", default=[], help="folders of real pictures")
    parser.add_argument("--scale", type=int, default=4)
    parser.add_argument("--pictures", type=Path, help="folder for crops side by side")
    parser.add_argument("--quick", action="store_true", help="few drawings, one timed round")
    parser.add_argument("--output", type=Path, help="default: results/, one file per machine")
    return parser.parse_args(arguments)


def _upscaler(model: str, scale: int) -> Enlarge:
    settings = UpscaleSettings.model_validate({"model": model, "scale": scale})
    return enlarger(build_upscaler(settings, model_dir=Path(), device="cpu"))


def real_pictures(folders: Sequence[Path], scale: int) -> dict[str, Pixels]:
    """Opaque 8-bit pictures in RGB, their sides cut to multiples of ``scale``, by file name."""
    found = {}
    for path in sorted(path for folder in folders for path in folder.iterdir()):
        pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if pixels is None or pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
            continue
        height, width = (side // scale * scale for side in pixels.shape[:2])
        found[path.name] = np.ascontiguousarray(pixels[:height, :width, ::-1], np.uint8)
    return found


def reduced(pixels: Pixels, scale: int) -> Pixels:
    """By an area filter."""
    size = (pixels.shape[1] // scale, pixels.shape[0] // scale)
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def resaved(pixels: Pixels, quality: int) -> Pixels:
    """Through Pillow's JPEG, its chroma halved."""
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return np.array(PIL.Image.open(file))


def compared(
    enlarge: dict[str, Enlarge],
    pictures: dict[str, Pixels],
    scale: int,
    slow: set[str],
    spoil: Callable[[Pixels], Pixels] | None,
) -> Rows:
    """Every method's scores on every picture; ``slow`` ones on the first few."""
    rows: Rows = {}
    for method, call in enlarge.items():
        names = list(pictures)[: SLOW_PICTURES if method in slow else None]
        rows[method] = {}
        for name in names:
            small = reduced(pictures[name], scale)
            small = spoil(small) if spoil else small
            rows[method][name] = scores(pictures[name], call(small), small)
    return rows


def scores(wanted: Pixels, made: Pixels, small: Pixels) -> dict[str, float]:
    """PSNR, SSIM, and the largest difference of a channel's mean from the small picture's, of 255."""
    shift = np.abs(made.mean((0, 1)) - small.mean((0, 1))).max()
    return {
        "psnr_db": float(skimage.metrics.peak_signal_noise_ratio(wanted, made)),
        "ssim": float(skimage.metrics.structural_similarity(wanted, made, channel_axis=2)),
        "color_shift_255": float(shift),
    }


def summary(rows: Rows) -> dict[str, dict[str, float]]:
    """Each method against Lanczos on the pictures that it saw."""
    base = rows[LANCZOS]
    table = {}
    for method, scored in rows.items():
        gains = [score["psnr_db"] - base[name]["psnr_db"] for name, score in scored.items()]
        similar = [score["ssim"] - base[name]["ssim"] for name, score in scored.items()]
        if not gains:
            continue
        table[method] = {
            "pictures": len(gains),
            "mean_gain_db": statistics.fmean(gains),
            "least_gain_db": min(gains),
            "mean_ssim_gain": statistics.fmean(similar),
            "least_ssim_gain": min(similar),
            "largest_color_shift_255": max(score["color_shift_255"] for score in scored.values()),
        }
    return table


def speed(
    paths: Sequence[Path], scale: int, precision: PrecisionSetting, quick: bool
) -> dict[str, dict[str, float | str]]:
    """Best seconds of each network alone for 256x256 px, in turns, and what runs it in which precision.

    In fp32 that is OpenVINO for all; ``auto`` is what users get on this CPU.
    """
    windows = (reduced(draw(HELD_OUT, 512), 2)[None] / 255).astype(np.float32)
    calls: dict[str, Callable[[], object]] = {}
    rows: dict[str, dict[str, float | str]] = {}
    for path in paths:
        settings = UpscaleSettings(model=str(path), scale=scale, precision=precision)
        upscaler = build_upscaler(settings, model_dir=Path(), device="cpu")
        assert isinstance(upscaler, NetworkUpscaler)
        loaded = upscaler._loaded
        assert precision == "auto" or loaded.runtime == "openvino"
        calls[path.stem] = partial(_run, loaded.network, windows)
        rows[path.stem] = {"runtime": loaded.runtime, "precision": loaded.network.precision}
    for name, seconds in in_turns(calls, 1 if quick else 20).items():
        rows[name]["seconds"] = seconds
    return rows


def _run(network: Network, windows: Floats) -> None:
    for _ in network.strips(windows):
        pass


def side_by_side(
    enlarge: dict[str, Enlarge], pictures: dict[str, Pixels], scale: int, slow: set[str], folder: Path
) -> None:
    """A row of crops at twice their size for each of the first pictures: source, every method, original."""
    folder.mkdir(parents=True, exist_ok=True)
    edge = 160
    for name, wanted in list(pictures.items()):
        small = reduced(wanted, scale)
        source = np.repeat(np.repeat(small, scale, 0), scale, 1)
        methods = {key: call for key, call in enlarge.items() if key not in slow}
        whole = [source, *(call(small) for call in methods.values()), wanted]
        top, left = (wanted.shape[0] - edge) // 2, (wanted.shape[1] - edge) // 2
        crops = [each[top : top + edge, left : left + edge].repeat(2, 0).repeat(2, 1) for each in whole]
        PIL.Image.fromarray(np.hstack(crops)).save(folder / f"{Path(name).stem}.png")


if __name__ == "__main__":
    sys.exit(main())
