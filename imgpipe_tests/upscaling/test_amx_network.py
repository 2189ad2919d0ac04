"""The network by the matrix unit: as precise as torch's bf16, exact in tiles, safe where it fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from imgpipe.images.image import Image
from imgpipe.inference.torch_network import TorchNetwork
from imgpipe.upscaling import amx_band, amx_network, spandrel_network, tile_runner
from imgpipe.upscaling.amx_band import stream_strips
from imgpipe.upscaling.amx_instructions import amx_is_usable
from imgpipe.upscaling.amx_network import AmxNetwork
from imgpipe.upscaling.network import NATIVE_MAX, Floats, Native, Strip
from imgpipe.upscaling.network_forms import CompactForm
from imgpipe.upscaling.network_upscaler import NetworkUpscaler
from imgpipe.upscaling.quantising_network import QuantisingNetwork
from imgpipe_tests.upscaling.conftest import tiny_compact

Save = Callable[[nn.Module, str], Path]
Build = Callable[..., NetworkUpscaler]
Picture = Callable[..., Image]

needs_amx = pytest.mark.skipif(not amx_is_usable(), reason="this CPU, kernel or compiler has no AMX-BF16")


def _torch(module: nn.Module, scale: int, precision: str) -> QuantisingNetwork:
    inner = TorchNetwork(module, scale=scale, device="cpu", precision=precision, form=CompactForm)
    return QuantisingNetwork(inner)


def _levels(network: AmxNetwork | QuantisingNetwork, windows: Floats) -> Native:
    return np.concatenate([strip.levels for strip in network.strips(windows)], axis=1)


def _error(levels: Native, truth: Native) -> float:
    return float(((levels.astype(float) - truth) ** 2).mean() ** 0.5 / NATIVE_MAX)


@needs_amx
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_it_is_the_network(scale: int, count: int) -> None:
    module = tiny_compact(scale=scale, features=64)
    windows = np.random.default_rng(scale).random((count, 37, 29, 3), np.float32)
    full, low = (_torch(module, scale, precision) for precision in ("fp32", "bf16"))
    truth = _levels(full, windows)
    network = AmxNetwork(module, full)
    assert (network.scale, network.precision, network.device) == (scale, "bf16", "cpu")
    assert _error(_levels(network, windows), truth) <= _error(_levels(low, windows), truth) < 0.01
    means = np.concatenate([strip.mean for strip in network.strips(windows)], axis=1)
    expected = np.concatenate([strip.mean for strip in full.strips(windows)], axis=1)
    assert np.abs(means - expected).max() < 0.02
    assert network.take_retries() == 0


@needs_amx
def test_tiles_are_exact(save: Save, build: Build, picture: Picture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spandrel_network, "fastest_convolution", lambda *_: "amx")
    path, image = save(tiny_compact(features=64), "wide"), picture(133, 90)
    whole = build(path, tile_size=0, precision="bf16").upscale(image)
    assert whole.details["convolution"] == "amx"
    assert whole.details["halo_px"] == 6, "the receptive field"
    assert whole.model.precision == "bf16"
    for tile, batch in ((32, 1), (45, 4), (64, 1)):
        tiled = build(path, tile_size=tile, batch_size=batch, precision="bf16").upscale(image)
        assert tiled.details["tiles"] > 1
        assert np.array_equal(tiled.image.pixels, whole.image.pixels), f"tile {tile}"


@needs_amx
def test_what_is_not_finite_is_computed_again_in_fp32() -> None:
    module = tiny_compact(features=64)
    windows = np.random.default_rng(0).random((2, 20, 24, 3), np.float32)
    full = _torch(module, 4, "fp32")
    network = AmxNetwork(module, full)
    network._chain.filters[1, 40] = 0x7FC0  # NaN
    starts = [strip.start for strip in network.strips(windows)]
    assert starts[0] == 0
    assert np.array_equal(_levels(network, windows), _levels(full, windows))
    assert network.take_retries() == 4, "both windows of both calls"
    assert network.take_retries() == 0


@needs_amx
def test_a_whole_picture_is_not_copied_and_can_fail_midway(
    save: Save, build: Build, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spandrel_network, "fastest_convolution", lambda *_: "amx")
    monkeypatch.setattr(amx_band, "_BAND_PIXELS_PER_THREAD", 300)
    path, image = save(tiny_compact(features=64), "wide"), picture(40, 90)
    upscaler = build(path, tile_size=0, precision="bf16")
    strips = list(upscaler._loaded.network.strips(image.pixels[None].astype(np.float32) / 255))
    assert len(strips) > 2
    whole = strips[0].whole
    assert whole is not None
    assert np.array_equal(np.concatenate([strip.levels for strip in strips], axis=1), whole[0])

    def copied(*_: object) -> None:
        raise AssertionError("a strip was copied")

    with monkeypatch.context() as patched:
        patched.setattr(tile_runner, "_keep", copied)
        upscaler.upscale(image)

    def fails_late(*arguments: object) -> Iterator[tuple[Strip, bool]]:
        for index, (strip, _) in enumerate(stream_strips(*arguments)):  # type: ignore[arg-type]
            yield strip, index < 2

    monkeypatch.setattr(amx_network, "stream_strips", fails_late)
    again = upscaler.upscale(image)
    assert again.details["fp32_retries"] == 1
    monkeypatch.setattr(spandrel_network, "fastest_convolution", lambda *_: "backend")
    assert np.array_equal(again.image.pixels, build(path, tile_size=0).upscale(image).image.pixels)


@needs_amx
def test_memory_is_known_without_computing() -> None:
    module = tiny_compact(features=64)
    memory = AmxNetwork(module, _torch(module, 4, "fp32")).memory_model()
    assert 16 * 2**20 < memory.needed_bytes(1024**2) < 512 * 2**20


def test_without_a_matrix_unit_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(amx_network, "amx_is_usable", lambda: False)
    module = tiny_compact(features=64)
    with pytest.raises(RuntimeError, match="expected AMX-BF16"):
        AmxNetwork(module, _torch(module, 4, "fp32"))


@needs_amx
def test_threads_are_those_of_torch() -> None:
    module = tiny_compact(features=64)
    network = AmxNetwork(module, _torch(module, 4, "fp32"))
    assert network._plan(640, 480).threads == torch.get_num_threads()
