"""SRVGGNetCompact by the matrix unit: as precise as torch's bf16, exact in tiles."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from torch import nn

from imgpipe.inference.torch_network import TorchNetwork
from imgpipe.upscaling import tile_runner
from imgpipe.upscaling.cpu import band, compact, cpu_network
from imgpipe.upscaling.cpu.band import stream_strips
from imgpipe.upscaling.network import NATIVE_MAX, Floats, Native, Network, Strip
from imgpipe.upscaling.network_forms import CompactForm
from imgpipe.upscaling.quantising_network import QuantisingNetwork
from imgpipe_tests.upscaling.conftest import Build, Picture, Save, tiny_compact
from imgpipe_tests.upscaling.cpu import needs_amx

pytestmark = needs_amx


def _torch(module: nn.Module, scale: int, precision: str) -> QuantisingNetwork:
    inner = TorchNetwork(module, scale=scale, device="cpu", precision=precision, form=CompactForm)
    return QuantisingNetwork(inner)


def _levels(network: Network, windows: Floats) -> Native:
    return np.concatenate([strip.levels for strip in network.strips(windows)], axis=1)


def _error(levels: Native, truth: Native) -> float:
    return float(((levels.astype(float) - truth) ** 2).mean() ** 0.5 / NATIVE_MAX)


@pytest.mark.parametrize(("scale", "count"), [(1, 3), (2, 1), (3, 1), (4, 3)])
def test_it_is_the_network(scale: int, count: int) -> None:
    module = tiny_compact(scale=scale, features=64)
    windows = np.random.default_rng(scale).random((count, 37, 29, 3), np.float32)
    full, low = (_torch(module, scale, precision) for precision in ("fp32", "bf16"))
    truth = _levels(full, windows)
    network = cpu_network(module, "bf16", full)
    assert network is not None
    assert network.scale == scale
    assert _error(_levels(network, windows), truth) <= _error(_levels(low, windows), truth) < 0.01
    means = np.concatenate([strip.mean for strip in network.strips(windows)], axis=1)
    expected = np.concatenate([strip.mean for strip in full.strips(windows)], axis=1)
    assert np.abs(means - expected).max() < 0.02
    assert network.take_retries() == 0


def test_tiles_are_exact(save: Save, build: Build, picture: Picture) -> None:
    path, image = save(tiny_compact(features=64), "wide"), picture(133, 90)
    whole = build(path, tile_size=0, precision="bf16").upscale(image)
    assert whole.details["runtime"] == "amx"
    assert whole.details["halo_px"] == 6, "the receptive field"
    assert whole.model.precision == "bf16"
    for tile, batch in ((32, 1), (45, 4), (64, 1)):
        tiled = build(path, tile_size=tile, batch_size=batch, precision="bf16").upscale(image)
        assert tiled.details["tiles"] > 1
        assert np.array_equal(tiled.image.pixels, whole.image.pixels), f"tile {tile}"


def test_a_whole_picture_is_not_copied_and_can_fail_midway(
    save: Save, build: Build, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(band, "_BAND_PIXELS_PER_THREAD", 300)
    path, image = save(tiny_compact(features=64), "wide"), picture(40, 90)
    upscaler = build(path, tile_size=0, precision="bf16")
    strips = list(upscaler._loaded.network.strips(image.pixels[None].astype(np.float32) / np.float32(255)))
    assert len(strips) > 2
    whole = strips[0].whole
    assert whole is not None
    assert np.array_equal(np.concatenate([strip.levels for strip in strips], axis=1), whole[0])

    def copied(*_: object) -> None:
        raise AssertionError("a strip was copied")

    with monkeypatch.context() as patched:
        patched.setattr(tile_runner.Picture, "keep_strip", copied)
        upscaler.upscale(image)

    def fails_late(*arguments: object) -> Iterator[tuple[Strip, bool]]:
        for index, (strip, _) in enumerate(stream_strips(*arguments)):  # type: ignore[arg-type]
            yield strip, index < 2

    monkeypatch.setattr(compact, "stream_strips", fails_late)
    again = upscaler.upscale(image)
    assert again.details["fp32_retries"] == 1
    assert np.array_equal(again.image.pixels, build(path, tile_size=0).upscale(image).image.pixels)
