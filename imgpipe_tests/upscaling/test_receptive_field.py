"""The computed reach is the true one: a NaN travels exactly that far; and how far known filters reach."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from spandrel.architectures.Compact import Compact
from spandrel.architectures.ESRGAN import ESRGAN
from torch import Tensor, nn

from imgpipe.upscaling.network import UNBOUNDED_HALO_PX, Floats, ReceptiveField
from imgpipe.upscaling.receptive_field import measure, of_convolutions
from imgpipe_tests.upscaling.conftest import tiny_compact, tiny_rrdb


def measure_by_nan(network: nn.Module, scale: int, *, multiple_of: int = 1) -> ReceptiveField:
    def enlarge(strip: Floats) -> Floats:
        with torch.inference_mode():
            result: torch.Tensor = network(torch.from_numpy(strip).permute(2, 0, 1)[None])[0]
            return result.permute(1, 2, 0).numpy()

    return measure(enlarge, scale, multiple_of=multiple_of, passes_nan=True)


def test_published_networks() -> None:
    compact = Compact(num_feat=64, num_conv=16, upscale=4)
    rrdb = ESRGAN(in_nc=3, out_nc=3, num_filters=64, num_blocks=6, scale=4)
    assert of_convolutions(compact).radius_px == 18
    assert of_convolutions(rrdb).radius_px == 94


@pytest.mark.parametrize("convolutions", [1, 4, 9])
def test_compact_measured_equals_computed(convolutions: int) -> None:
    network = tiny_compact(inner_convolutions=convolutions)
    computed = of_convolutions(network)
    measured = measure_by_nan(network, 4)
    assert (computed.radius_px, computed.source) == (convolutions + 2, "computed")
    assert (measured.radius_px, measured.source) == (convolutions + 2, "measured")


def test_rrdb_measured_equals_computed() -> None:
    network = tiny_rrdb()
    assert measure_by_nan(network, 4).radius_px == of_convolutions(network).radius_px == 19


def test_dilation_counts() -> None:
    network = nn.Conv2d(3, 3, 5, padding=6, dilation=3)
    assert measure_by_nan(network, 1).radius_px == of_convolutions(network).radius_px == 6


def test_a_global_mean_has_no_radius() -> None:
    class MinusMean(nn.Module):
        def forward(self, pixels: Tensor) -> Tensor:
            return pixels - pixels.mean(dim=(2, 3), keepdim=True)

    field = measure_by_nan(MinusMean(), 1)
    assert (field.radius_px, field.exact) == (UNBOUNDED_HALO_PX, False)


def test_blocks_are_tried_at_every_offset() -> None:
    class BlockMean(nn.Module):
        """Each 8 x 8 block becomes its mean: a pixel reaches 7 px where it begins or ends a block."""

        def forward(self, pixels: Tensor) -> Tensor:
            width = pixels.shape[-1]
            padded = nn.functional.pad(pixels, (0, -width % 8, 0, 0), mode="replicate")
            means = nn.functional.avg_pool2d(padded, 8)
            return nn.functional.interpolate(means, scale_factor=8)[..., :width]

    assert measure_by_nan(BlockMean(), 1, multiple_of=8).radius_px == 7
    assert not measure_by_nan(BlockMean(), 1).exact, "unless cuts keep to the blocks, they show"


@pytest.mark.parametrize(("scale", "radius"), [(1, 0), (2, 1), (4, 5), (3, 20), (2, 40)])
def test_a_box_filter_reaches_its_radius(scale: int, radius: int) -> None:
    def enlarge(window: Floats) -> Floats:
        blurred = cv2.blur(window.astype(np.float64), (2 * radius + 1, 2 * radius + 1))
        result = np.repeat(np.repeat(blurred.round(9), scale, 0), scale, 1)
        return result.astype(np.float32)

    field = measure(enlarge, scale)
    assert (field.radius_px, field.source) == (radius, "measured")


def test_what_depends_on_the_whole_is_unbounded() -> None:
    field = measure(lambda window: window - window.mean(), 1)
    assert (field.radius_px, field.exact) == (UNBOUNDED_HALO_PX, False)


def test_a_grid_from_the_corner_is_unbounded() -> None:
    def in_blocks(window: Floats) -> Floats:
        result = window.copy()
        for start in range(0, window.shape[1], 8):
            result[:, start : start + 8] = window[:, start : start + 8].mean(axis=1, keepdims=True)
        return result

    assert not measure(in_blocks, 1).exact
