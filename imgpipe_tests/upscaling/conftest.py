"""Small seeded networks of the two Real-ESRGAN architectures, saved as weights files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from spandrel.architectures.Compact import Compact
from spandrel.architectures.ESRGAN import ESRGAN
from torch import nn

from imgpipe.images.image import Image
from imgpipe.inference.weights import LocatedWeights
from imgpipe.settings import LimitSettings, UpscaleSettings
from imgpipe.upscaling import spandrel_network
from imgpipe.upscaling.build import build_upscaler
from imgpipe.upscaling.network import LoadedNetwork
from imgpipe.upscaling.network_upscaler import NetworkUpscaler

Save = Callable[[nn.Module, str], Path]
Build = Callable[..., NetworkUpscaler]
Picture = Callable[..., Image]


def lively(module: nn.Module) -> nn.Module:
    """Random weights that keep a signal's strength from layer to layer, so that context matters."""
    generator = torch.Generator().manual_seed(7)
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            fan_in = layer.in_channels * layer.kernel_size[0] * layer.kernel_size[1]
            with torch.no_grad():
                layer.weight.normal_(0.0, (1.6 / fan_in) ** 0.5, generator=generator)
                if layer.bias is not None:
                    layer.bias.normal_(0.0, 0.02, generator=generator)
    return module.eval()


def tiny_compact(
    scale: int = 4, inner_convolutions: int = 4, channels: int = 3, features: int = 16
) -> nn.Module:
    """SRVGGNetCompact; receptive field = inner_convolutions + 2 px."""
    return lively(
        Compact(
            num_in_ch=channels,
            num_out_ch=channels,
            num_feat=features,
            num_conv=inner_convolutions,
            upscale=scale,
        )
    )


def tiny_rrdb(blocks: int = 1) -> nn.Module:
    """RRDBNet at scale 4; receptive field = 2 + 15 * blocks + 1.25 px, rounded up."""
    return around_mid_grey(lively(ESRGAN(in_nc=3, out_nc=3, num_filters=16, num_blocks=blocks, scale=4)))


def around_mid_grey(network: nn.Module) -> nn.Module:
    """RRDBNet whose output is about 0.5, so that clipping hides nothing."""
    *_, (_, weight), (_, bias) = network.named_parameters()
    with torch.no_grad():
        bias.add_(0.5)
        weight.mul_(0.2)
    return network


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Writes a network's state dict as safetensors and returns the path."""

    def write(module: nn.Module, name: str) -> Path:
        path = tmp_path / f"{name}.safetensors"
        save_file({key: value.contiguous() for key, value in module.state_dict().items()}, path)
        return path

    return write


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Build:
    """``build(path, limits=None, **settings)``: an upscaler on the CPU, fp32 unless told otherwise.

    A test's upscalers share the loaded network where path and precision are the same.
    """
    load = spandrel_network.load_network
    loaded: dict[tuple[Path, str], LoadedNetwork] = {}

    def load_once(located: LocatedWeights, *, device: str, precision: Any) -> LoadedNetwork:
        key = located.path, precision
        if key not in loaded:
            loaded[key] = load(located, device=device, precision=precision)
        return loaded[key]

    monkeypatch.setattr(spandrel_network, "load_network", load_once)

    def make(path: Path, limits: LimitSettings | None = None, **settings: Any) -> NetworkUpscaler:
        chosen = UpscaleSettings(model=str(path), **{"precision": "fp32", **settings})
        upscaler = build_upscaler(chosen, model_dir=tmp_path, device="cpu", limits=limits)
        assert isinstance(upscaler, NetworkUpscaler)
        return upscaler

    return make


@pytest.fixture
def picture() -> Picture:
    """``picture(width, height, channels=3, dtype=uint8)``: seeded soft shapes with fine noise on them."""

    def make(width: int, height: int, channels: int = 3, dtype: Any = np.uint8) -> Image:
        rng = np.random.default_rng(width * 1000 + height)
        y, x = np.mgrid[0:height, 0:width]
        waves = [np.sin(x / (5 + i) + i) * np.cos(y / (7 - i) + 2 * i) for i in range(channels)]
        values = 0.5 + 0.35 * np.stack(waves, axis=-1) + rng.normal(0, 0.05, (height, width, channels))
        full = np.iinfo(dtype).max
        return Image((np.clip(values, 0, 1) * full).round().astype(dtype))

    return make
