"""What ``upscaling.py`` compares: networks, pictures, ``RealESRGANer``, and how turns are timed."""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
import time
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import machine
import numpy as np
import torch
from safetensors.torch import load_file, save_file
from spandrel.architectures.Compact import Compact
from spandrel.architectures.ESRGAN import ESRGAN

from imgpipe.images.image import Image
from imgpipe.settings import UpscaleSettings
from imgpipe.upscaling.build import build_upscaler
from imgpipe.upscaling.network_upscaler import NetworkUpscaler

FLOP_PER_OUTPUT_PIXEL = {"animevideov3": 77_400, "anime-6b": 713_304}
SCALE = 4

Pixels = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
Enlarge = Callable[[Pixels], Pixels]


def settings(model: str, **changes: Any) -> UpscaleSettings:
    return UpscaleSettings.model_validate({"model": model, "scale": SCALE, **changes})


def ours(path: Path, device: str, **changes: Any) -> NetworkUpscaler:
    upscaler = build_upscaler(settings(str(path), **changes), model_dir=path.parent, device=device)
    assert isinstance(upscaler, NetworkUpscaler)
    return upscaler


def enlarger(upscaler: Any) -> Enlarge:
    return lambda pixels: upscaler.upscale(Image(np.ascontiguousarray(pixels))).image.pixels


def realesrganer(name: str, path: Path, tile: int, device: str) -> Enlarge | str:
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
    if name == "anime-6b":  # the file has the older names of the same tensors
        ordered = (state[key] for key in _esrgan().state_dict())
        state = dict(zip(network.state_dict(), ordered, strict=True))
    with tempfile.NamedTemporaryFile(suffix=".pth") as file:
        torch.save({"params": state}, file.name)
        upsampler = RealESRGANer(
            SCALE, file.name, model=network, tile=tile, half=device == "cuda", device=torch.device(device)
        )

    def enlarge(pixels: Pixels) -> Pixels:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints a line per tile
            result: Pixels = upsampler.enhance(pixels[..., ::-1], outscale=SCALE)[0][..., ::-1]
        return result

    return enlarge


def network_files(weights: Path | None, with_6b: bool, folder: Path) -> Iterator[tuple[str, Path]]:
    """(name, weights file): animevideov3 as given or with seeded random weights, and the 6B network so."""
    if weights is not None:
        yield "animevideov3", weights
    else:
        path = folder / "animevideov3.safetensors"
        _save(Compact(num_feat=64, num_conv=16, upscale=SCALE), path)
        yield "animevideov3", path
    if with_6b:
        path = folder / "anime-6b.safetensors"
        _save(_esrgan(), path)
        yield "anime-6b", path


def _esrgan() -> ESRGAN:
    return ESRGAN(in_nc=3, out_nc=3, num_filters=64, num_blocks=6, scale=SCALE)


def _save(network: torch.nn.Module, path: Path) -> None:
    """Seeded weights that keep a signal's strength from layer to layer: an output that shows its context."""
    generator = torch.Generator().manual_seed(0)
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d):
            fan_in = layer.in_channels * layer.kernel_size[0] * layer.kernel_size[1]
            with torch.no_grad():
                layer.weight.normal_(0.0, (1.4 / fan_in) ** 0.5, generator=generator)
    if isinstance(network, ESRGAN):
        with torch.no_grad():
            network.model[-1].weight.mul_(0.2)
            network.model[-1].bias.fill_(0.5)
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, path)


def real_pictures(folders: Sequence[Path]) -> list[Pixels]:
    """Opaque pictures in RGB, their sides cut to multiples of the factor, in the order of their names."""
    found = []
    for path in sorted(path for folder in folders for path in folder.iterdir()):
        pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if pixels is None or pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
            continue
        height, width = (side // SCALE * SCALE for side in pixels.shape[:2])
        found.append(np.ascontiguousarray(pixels[:height, :width, ::-1], np.uint8))
    return found


def picture(width: int, height: int, real: Sequence[Pixels], index: int = 0) -> Pixels:
    """A real picture at ``width`` x ``height``, cut from its middle where it is large enough; else drawn."""
    if not real:
        return _drawn(width, height)
    pixels = real[index % len(real)]
    factor = max(width / pixels.shape[1], height / pixels.shape[0], 1.0)
    if factor > 1:
        size = max(width, round(pixels.shape[1] * factor)), max(height, round(pixels.shape[0] * factor))
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_CUBIC), np.uint8)
    y, x = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    return np.ascontiguousarray(pixels[y : y + height, x : x + width])


def _drawn(width: int, height: int) -> Pixels:
    """Seeded soft shapes with hard lines on them."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    waves = [np.sin(x / (23 + 7 * i)) * np.cos(y / (31 - 5 * i)) for i in range(3)]
    pixels = ((0.5 + 0.4 * np.stack(waves, axis=-1)) * 255).astype(np.uint8)
    rng = np.random.default_rng(0)
    for _ in range(20):
        start, stop = (tuple(int(v) for v in rng.integers(0, (width, height))) for _ in range(2))
        cv2.line(pixels, start, stop, (20, 15, 30), 2, cv2.LINE_AA)
    return pixels


def in_turns(
    calls: Mapping[str, Callable[[], object]], rounds: int, skipped: dict[str, str] | None = None
) -> dict[str, float]:
    """Best seconds of each, one call of each per round after a first one that is not counted.

    One that fails has none, and what it said goes into ``skipped``; without that the error goes on.
    """
    best = dict.fromkeys(calls, float("inf"))
    for turn in range(rounds + 1):
        for name in list(best):
            begin = time.perf_counter()
            done = calls[name]() if skipped is None else machine.tried(calls[name])
            if skipped is not None and isinstance(done, dict) and "failed" in done:
                skipped[name] = str(done["failed"])
                del best[name]
            elif turn:
                best[name] = min(best[name], time.perf_counter() - begin)
    return best


def matrix_edges(device: str) -> tuple[int, ...]:
    """Sizes of matrices, one of which reaches the machine's rate."""
    return (1024, 2048) if device == "cpu" else (8192,)


def matrix_product(precision: str, device: str, edge: int, *, once: bool) -> tuple[Callable[[], None], float]:
    """(products of two matrices of ``edge`` x ``edge``, their FLOP): one, or as many as take seconds.

    A processor does not keep up for seconds what it does for a few milliseconds.
    """
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    repeat = 1 if once else 16 * max(1, (2048 // edge) ** 3)
    a, b = (torch.rand(edge, edge, device=device).to(dtype) for _ in range(2))
    result = torch.empty_like(a)

    def product() -> None:
        for _ in range(repeat):
            torch.mm(a, b, out=result)
        if device != "cpu":
            torch.cuda.synchronize()

    return product, 2.0 * edge**3 * repeat
