"""ESRGAN by the matrix unit: the network's numbers, in any tiles."""

from __future__ import annotations

import numpy as np
import pytest

from imgpipe.inference.torch_network import TorchNetwork
from imgpipe.upscaling.cpu import cpu_network
from imgpipe.upscaling.network import NATIVE_MAX, Network
from imgpipe.upscaling.network_forms import EsrganForm
from imgpipe.upscaling.quantising_network import QuantisingNetwork
from imgpipe_tests.upscaling.conftest import Build, Picture, Save
from imgpipe_tests.upscaling.cpu import needs_amx
from imgpipe_tests.upscaling.cpu.test_network import esrgan

pytestmark = needs_amx


@pytest.mark.parametrize("scale", [1, 2, 4, 8])
def test_it_is_the_network(scale: int) -> None:
    module = esrgan(2, scale)
    windows = np.random.default_rng(0).random((1, 37, 45, 3), np.float32)
    full, low = (
        QuantisingNetwork(
            TorchNetwork(module, scale=scale, device="cpu", precision=precision, form=EsrganForm)
        )
        for precision in ("fp32", "bf16")
    )
    ours = cpu_network(module, "bf16", full)
    assert ours is not None

    def levels(network: Network) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        return np.concatenate([strip.levels for strip in network.strips(windows)], axis=1) / NATIVE_MAX

    def error(network: Network) -> float:
        return float(((levels(network) - levels(full)) ** 2).mean() ** 0.5)

    assert 0 < error(ours) < 1.05 * error(low) < 0.01
    assert ours.take_retries() == 0


def test_tiles_are_exact(save: Save, build: Build, picture: Picture) -> None:
    path, image = save(esrgan(), "wide"), picture(131, 97)
    whole = build(path, tile_size=0, precision="bf16").upscale(image)
    assert whole.details["runtime"] == "amx"
    assert whole.model.precision == "bf16"
    assert whole.image.pixels.std() > 20
    for tile, batch in ((32, 1), (50, 4), (64, 1)):
        tiled = build(path, tile_size=tile, batch_size=batch, precision="bf16").upscale(image)
        assert tiled.details["tiles"] > 1
        assert np.array_equal(tiled.image.pixels, whole.image.pixels), f"tile {tile}"


def test_what_is_not_finite_is_computed_again_in_fp32(save: Save, build: Build, picture: Picture) -> None:
    path, image = save(esrgan(), "wide"), picture(24, 20)
    upscaler = build(path, tile_size=0, precision="bf16")
    upscaler._loaded.network._loops._form._blocks.filters[0] = 0x7FC0  # type: ignore[attr-defined]  # NaN
    again = upscaler.upscale(image)
    assert again.details["fp32_retries"] == 1
    assert np.array_equal(again.image.pixels, build(path, tile_size=0).upscale(image).image.pixels)
