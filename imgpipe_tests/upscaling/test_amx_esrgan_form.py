"""ESRGAN by the matrix unit: the network's numbers, in any tiles, and what is left to torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from spandrel.architectures.ESRGAN import ESRGAN
from torch import nn

from imgpipe.images.image import Image
from imgpipe.inference.torch_network import TorchNetwork
from imgpipe.upscaling import amx_esrgan_form, spandrel_network
from imgpipe.upscaling.amx import Floats
from imgpipe.upscaling.amx_esrgan_form import AmxEsrganForm, amx_or_torch, has_amx_form
from imgpipe.upscaling.amx_instructions import amx_is_usable
from imgpipe.upscaling.network_forms import EsrganForm
from imgpipe.upscaling.network_upscaler import NetworkUpscaler
from imgpipe_tests.upscaling.conftest import lively, tiny_rrdb

Save = Callable[[nn.Module, str], Path]
Build = Callable[..., NetworkUpscaler]
Picture = Callable[..., Image]

needs_amx = pytest.mark.skipif(not amx_is_usable(), reason="this CPU, kernel or compiler has no AMX-BF16")


def _esrgan(blocks: int = 1, scale: int = 4) -> nn.Module:
    network = lively(ESRGAN(in_nc=3, out_nc=3, num_filters=64, num_blocks=blocks, scale=scale))
    with torch.no_grad():
        network.model[-1].bias.add_(0.5)
        network.model[-1].weight.mul_(0.2)
    return network


@needs_amx
@pytest.mark.parametrize("scale", [1, 2, 4, 8])
def test_it_is_the_network(scale: int) -> None:
    module = _esrgan(2, scale)
    window = np.random.default_rng(0).random((37, 45, 3), np.float32)
    full, low, ours = (
        TorchNetwork(module, scale=scale, device="cpu", precision=precision, form=form)(window).numpy()
        for form, precision in ((EsrganForm, "fp32"), (EsrganForm, "bf16"), (amx_or_torch, "bf16"))
    )

    def error(values: Floats) -> float:
        return float(((values - full) ** 2).mean() ** 0.5)

    assert 0 < error(ours) < 1.05 * error(low) < 0.01


@needs_amx
def test_tiles_are_exact(save: Save, build: Build, picture: Picture) -> None:
    path, image = save(_esrgan(), "wide"), picture(131, 97)
    whole = build(path, tile_size=0, precision="bf16").upscale(image)
    assert whole.details["convolution"] == "amx"
    assert whole.model.precision == "bf16"
    assert whole.image.pixels.std() > 20
    for tile, batch in ((32, 1), (50, 4), (64, 1)):
        tiled = build(path, tile_size=tile, batch_size=batch, precision="bf16").upscale(image)
        assert tiled.details["tiles"] > 1
        assert np.array_equal(tiled.image.pixels, whole.image.pixels), f"tile {tile}"


@needs_amx
def test_what_is_not_finite_is_computed_again_in_fp32() -> None:
    module = _esrgan()
    window = np.random.default_rng(0).random((1, 20, 24, 3), np.float32)
    network = TorchNetwork(module, scale=4, device="cpu", precision="bf16", form=amx_or_torch)
    network._active._blocks.filters[0] = 0x7FC0
    full = TorchNetwork(module, scale=4, device="cpu", precision="fp32", form=EsrganForm)
    with torch.inference_mode():
        rows = [rows for _, rows in network.strips(window)]
        assert torch.equal(torch.cat(rows, 1)[0], full(window[0]))
    assert network.take_retries() == 1


@needs_amx
def test_memory_is_known_without_computing() -> None:
    network = TorchNetwork(_esrgan(), scale=4, device="cpu", precision="bf16", form=amx_or_torch)
    needed = [network.memory_model().needed_bytes(edge**2) for edge in (256, 1024)]
    assert 3 * 192 * 2 * 1024**2 < needed[1] < 3 * 2**30
    assert needed[0] < needed[1] / 8


def test_only_such_networks_are_computed(save: Save, build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    assert has_amx_form(_esrgan())
    assert not has_amx_form(tiny_rrdb()), "16 features"
    plus = _esrgan()
    plus.model[1].sub[0].RDB2.conv1x1 = nn.Conv2d(64, 32, 1, bias=False)
    assert not has_amx_form(plus), "ESRGAN+"
    other = _esrgan()
    other.model[1].sub[0].RDB2.conv3[1].negative_slope = 0.1
    assert not has_amx_form(other), "two slopes"
    assert not has_amx_form(_esrgan(scale=3)), "enlarged by 3"
    assert not has_amx_form(ESRGAN(num_blocks=1, upsampler="pixel_shuffle")), "not by nearest pixels"
    smooth = _esrgan()
    smooth.model[2].mode = "bilinear"
    assert not has_amx_form(smooth), "not by nearest pixels"
    monkeypatch.setattr(spandrel_network, "fastest_esrgan", lambda precision: "backend")
    upscaler = build(save(_esrgan(), "wide"), precision="bf16")
    assert upscaler._loaded.convolution == "backend"


def test_without_a_matrix_unit_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(amx_esrgan_form, "amx_is_usable", lambda: False)
    with pytest.raises(RuntimeError, match="expected AMX-BF16"):
        AmxEsrganForm(_esrgan(), torch.bfloat16, "cpu")
