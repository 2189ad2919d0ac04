"""The computed reach is the true one: a NaN travels exactly that far, and no shorter halo is exact."""

from __future__ import annotations

import pytest
import torch
from spandrel.architectures.Compact import Compact
from spandrel.architectures.ESRGAN import ESRGAN
from torch import Tensor, nn

from imgpipe.upscaling.network import UNBOUNDED_HALO_PX
from imgpipe.upscaling.receptive_field import measure, of_convolutions
from imgpipe_tests.upscaling.conftest import tiny_compact, tiny_rrdb


def test_published_networks() -> None:
    compact = Compact(num_feat=64, num_conv=16, upscale=4)
    rrdb = ESRGAN(in_nc=3, out_nc=3, num_filters=64, num_blocks=6, scale=4)
    assert of_convolutions(compact).radius_px == 18
    assert of_convolutions(rrdb).radius_px == 94


@pytest.mark.parametrize("convolutions", [1, 4, 9])
def test_compact_measured_equals_computed(convolutions: int) -> None:
    network = tiny_compact(inner_convolutions=convolutions)
    computed = of_convolutions(network)
    with torch.inference_mode():
        measured = measure(network, 4)
    assert (computed.radius_px, computed.source) == (convolutions + 2, "computed")
    assert (measured.radius_px, measured.source) == (convolutions + 2, "measured")


def test_rrdb_measured_equals_computed() -> None:
    network = tiny_rrdb()
    with torch.inference_mode():
        assert measure(network, 4).radius_px == of_convolutions(network).radius_px == 19


def test_dilation_counts() -> None:
    network = nn.Conv2d(3, 3, 5, padding=6, dilation=3)
    with torch.inference_mode():
        assert measure(network, 1).radius_px == of_convolutions(network).radius_px == 6


def test_a_global_mean_has_no_radius() -> None:
    class MinusMean(nn.Module):
        def forward(self, pixels: Tensor) -> Tensor:
            return pixels - pixels.mean(dim=(2, 3), keepdim=True)

    field = measure(MinusMean(), 1)
    assert (field.radius_px, field.exact) == (UNBOUNDED_HALO_PX, False)


def test_blocks_are_tried_at_every_offset() -> None:
    class BlockMean(nn.Module):
        """Each 8 x 8 block becomes its mean: a pixel reaches 7 px where it begins or ends a block."""

        def forward(self, pixels: Tensor) -> Tensor:
            width = pixels.shape[-1]
            padded = nn.functional.pad(pixels, (0, -width % 8, 0, 0), mode="replicate")
            means = nn.functional.avg_pool2d(padded, 8)
            return nn.functional.interpolate(means, scale_factor=8)[..., :width]

    assert measure(BlockMean(), 1, multiple_of=8).radius_px == 7
    assert not measure(BlockMean(), 1).exact, "unless cuts keep to the blocks, they show"
