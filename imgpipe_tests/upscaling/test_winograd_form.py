"""The network by Winograd's convolutions: equal to itself, exact in tiles, chosen where it is faster."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from imgpipe.images.image import Image
from imgpipe.inference.torch_network import peak_tensor_bytes
from imgpipe.upscaling import spandrel_network
from imgpipe.upscaling.convolution_choice import Convolution
from imgpipe.upscaling.network_forms import CompactForm, has_own_convolutions
from imgpipe.upscaling.network_upscaler import NetworkUpscaler
from imgpipe.upscaling.winograd_form import WinogradCompactForm, winograd_reach_px
from imgpipe_tests.upscaling.conftest import tiny_compact

Save = Callable[[nn.Module, str], Path]
Build = Callable[..., NetworkUpscaler]
Picture = Callable[..., Image]


@pytest.fixture
def pays(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """It always does where fp32 may be used; the precisions that it was compared with."""
    asked: list[str] = []

    def answer(precision: str, may_be_fp32: bool) -> Convolution:
        asked.append(precision)
        return "winograd" if may_be_fp32 else "backend"

    monkeypatch.setattr(spandrel_network, "fastest_convolution", answer)
    return asked


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("scale", [1, 2, 4])
def test_it_is_the_network(scale: int, count: int) -> None:
    module = tiny_compact(scale=scale, features=64)
    pixels = torch.rand((count, 3, 37, 29), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        form = WinogradCompactForm(module, torch.float32, "cpu")
        starts, strips = zip(*form.strips(pixels.contiguous(memory_format=torch.channels_last)), strict=True)
        rows = [strip.shape[2] // scale for strip in strips]
        assert list(starts) == [sum(rows[:index]) for index in range(len(rows))]
        torch.testing.assert_close(torch.cat(strips, dim=2), module(pixels), atol=2e-5, rtol=0)


def test_tiles_are_exact(pays: list[str], save: Save, build: Build, picture: Picture) -> None:
    path, image = save(tiny_compact(features=64), "wide"), picture(133, 90)
    whole = build(path, tile_size=0).upscale(image)
    assert whole.details["convolution"] == "winograd"
    assert whole.details["halo_px"] == 4 * 5, "a tile for each layer after the first"
    for tile, batch in ((32, 1), (45, 4), (64, 1)):
        tiled = build(path, tile_size=tile, batch_size=batch).upscale(image)
        assert tiled.details["tiles"] > 1
        assert tiled.details["exact_tiles"]
        assert np.array_equal(tiled.image.pixels, whole.image.pixels), f"tile {tile}"


def test_a_smaller_reach_would_not_be_exact(
    pays: list[str], save: Save, build: Build, picture: Picture
) -> None:
    """Before quantisation: the receptive field of 6 px is not enough, rounding goes further."""
    module = tiny_compact(features=64)
    form = WinogradCompactForm(module, torch.float32, "cpu")
    pixels = torch.from_numpy(picture(64, 16).pixels).permute(2, 0, 1)[None].float() / 255

    def computed(part: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            return torch.cat([rows.clone() for _, rows in form.strips(part)], dim=2)

    whole, reach = computed(pixels), winograd_reach_px(module)
    cut = computed(pixels[..., 32:])
    assert torch.equal(whole[..., 4 * (32 + reach) :], cut[..., 4 * reach :])
    assert not torch.equal(whole[..., 4 * (32 + 8) :], cut[..., 4 * 8 :])


@pytest.mark.parametrize(
    ("precision", "expected", "compared"),
    [("auto", "winograd", ["bf16"]), ("fp32", "winograd", ["fp32"]), ("bf16", "backend", ["bf16"])],
)
def test_it_takes_the_place_of_what_was_not_asked_for(
    precision: str,
    expected: str,
    compared: list[str],
    pays: list[str],
    save: Save,
    build: Build,
    picture: Picture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        spandrel_network, "resolve_precision", lambda setting, _: "bf16" if setting == "auto" else setting
    )
    result = build(save(tiny_compact(features=64), "wide"), precision=precision).upscale(picture(20, 20))
    assert result.details["convolution"] == expected
    assert result.model.precision == ("fp32" if expected == "winograd" else "bf16")
    assert pays == compared


def test_where_it_is_slower_it_is_not_taken(
    save: Save, build: Build, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spandrel_network, "fastest_convolution", lambda *_: "backend")
    result = build(save(tiny_compact(features=64), "wide")).upscale(picture(20, 20))
    assert result.details["convolution"] == "backend"
    assert result.details["halo_px"] == 6


def test_only_networks_of_its_kind() -> None:
    assert has_own_convolutions(tiny_compact(features=64))
    assert not has_own_convolutions(tiny_compact(features=16))
    other = copy.deepcopy(tiny_compact(features=64))
    other.body[1] = nn.LeakyReLU(0.1)  # type: ignore[operator,index]
    assert not has_own_convolutions(other)


def test_memory_is_known_without_computing() -> None:
    module = tiny_compact(features=64)
    winograd, direct = (form(module, torch.float32, "cpu") for form in (WinogradCompactForm, CompactForm))
    taken = peak_tensor_bytes(winograd, 1024, 1024)
    assert peak_tensor_bytes(direct, 1024, 1024) / 4 < taken < 512 * 2**20
