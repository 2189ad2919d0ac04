"""Bands of rows give what the layers one after another give."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn

from imgpipe.upscaling.row_stream import Layer, can_stream, stream


def _layers(depth: int) -> list[Layer]:
    generator = torch.Generator().manual_seed(3)
    channels = [3, *[8] * (depth - 1), 5]
    layers = []
    for inner, outer in pairwise(channels):
        convolution = nn.Conv2d(inner, outer, 3, padding=1).requires_grad_(False)
        for values in convolution.parameters():
            values.normal_(0, 0.2, generator=generator)
        layers.append(Layer(convolution, nn.PReLU(outer).requires_grad_(False)))
    return [*layers[:-1], Layer(layers[-1].convolution)]


def _one_after_another(layers: list[Layer], pixels: torch.Tensor) -> torch.Tensor:
    for layer in layers:
        pixels = layer.convolution(pixels)
        pixels = pixels if layer.activation is None else layer.activation(pixels)
    return pixels


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (2, 5), (23, 17), (64, 31)])
@pytest.mark.parametrize("band_pixels", [1, 40, 200, 10**6])
def test_bands_are_the_whole(height: int, width: int, count: int, band_pixels: int) -> None:
    layers = _layers(6)
    pixels = torch.rand((count, 3, height, width), generator=torch.Generator().manual_seed(height))
    expected = _one_after_another(layers, pixels)
    starts, parts = zip(
        *stream(layers, pixels.to(memory_format=torch.channels_last), band_pixels, 1), strict=True
    )
    torch.testing.assert_close(torch.cat(parts, dim=2), expected, atol=1e-5, rtol=1e-5)
    rows = [part.shape[2] for part in parts]
    assert list(starts) == [sum(rows[:index]) for index in range(len(rows))]


def test_bands_are_as_thick_as_asked() -> None:
    pixels = torch.zeros((1, 3, 100, 10)).to(memory_format=torch.channels_last)
    rows = [part.shape[2] for _, part in stream(_layers(4), pixels, band_pixels=200, least_rows=1)]
    assert rows == [16, 20, 20, 20, 24], "the first waits for its context, the last has all of it"


def test_only_plain_convolutions_are_streamed() -> None:
    assert can_stream(nn.Conv2d(3, 4, 3, padding=1))
    for other in (
        nn.Conv2d(3, 4, 3),
        nn.Conv2d(3, 4, 5, padding=2),
        nn.Conv2d(3, 4, 3, padding=1, stride=2),
        nn.Conv2d(4, 4, 3, padding=1, groups=2),
        nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"),
        nn.ReLU(),
    ):
        assert not can_stream(other)
