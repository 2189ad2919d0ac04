"""SRVGGNetCompact in fp32 on a CPU with Winograd's convolutions.

The first convolution has three channels in and stays direct; all others are 64 to 64 channels, or to the
3 x scale^2 of the last one.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from imgpipe.upscaling.compiled import CHANNELS
from imgpipe.upscaling.network_forms import CompactForm
from imgpipe.upscaling.row_stream import Layer
from imgpipe.upscaling.winograd import TILE_PX, Floats, transformed_filter
from imgpipe.upscaling.winograd_stream import BandPlan, WinogradLayer, stream_tiles


class WinogradCompactForm(CompactForm):
    """The same network as :class:`CompactForm`; its results differ by rounding, a few 1e-6."""

    def __init__(self, module: nn.Module, dtype: torch.dtype, device_type: str) -> None:
        super().__init__(module, dtype, device_type)
        self._first, *others = self.layers()
        self._chain = [_layer(layer) for layer in others]
        self._outputs = others[-1].convolution.out_channels

    def strips(self, pixels: Tensor) -> Iterator[tuple[int, Tensor]]:
        """(first row, rows of the result as (n, 3, rows, width)) from top to bottom."""
        count, _, height, width = pixels.shape
        plan = BandPlan(width, height, len(self._chain), torch.get_num_threads())
        if pixels.is_meta:
            yield from self._shapes(pixels, plan)
            return
        for strips in zip(*(self._residuals(pixels[n : n + 1], plan) for n in range(count)), strict=True):
            start, rows = strips[0][0], strips[0][1].shape[0]
            residual = torch.from_numpy(np.stack([strip[..., : self._outputs] for _, strip in strips]))
            yield start, self._finished(residual.permute(0, 3, 1, 2), pixels[:, :, start : start + rows])

    def _residuals(self, pixels: Tensor, plan: BandPlan) -> Iterator[tuple[int, Floats]]:
        padded = nn.functional.pad(pixels, (0, 0, 1, 1))

        def first_rows(start: int, stop: int) -> Floats:
            convolution, activation = self._first.convolution, self._first.activation
            window = padded[:, :, start : stop + 2]
            rows = nn.functional.conv2d(window, convolution.weight, convolution.bias, padding=(0, 1))
            features: Floats = (rows if activation is None else activation(rows))[0].permute(1, 2, 0).numpy()
            return features

        return stream_tiles(self._chain, first_rows, plan)

    def _shapes(self, pixels: Tensor, plan: BandPlan) -> Iterator[tuple[int, Tensor]]:
        """What :meth:`strips` holds, for tensors without values."""
        count, _, height, width = pixels.shape
        memory = [torch.empty(plan.floats, device="meta") for _ in range(count)]
        for start in range(0, height, plan.band_rows):
            rows = min(height, start + plan.band_rows) - start
            shape = (count, rows, width, self._outputs)
            residual = torch.empty(shape, device="meta").permute(0, 3, 1, 2)
            yield start, self._finished(residual, pixels[:, :, start : start + rows])
        del memory


def _layer(layer: Layer) -> WinogradLayer:
    convolution, activation = layer.convolution, layer.activation
    bias, slope = np.zeros(CHANNELS, np.float32), np.ones(CHANNELS, np.float32)
    if convolution.bias is not None:
        bias[: convolution.out_channels] = convolution.bias.detach().numpy()
    if isinstance(activation, nn.PReLU):
        slope[:] = activation.weight.detach().numpy()
    return WinogradLayer(transformed_filter(convolution.weight.detach().numpy()), bias, slope)


def winograd_reach_px(module: nn.Module) -> int:
    """How far a pixel can change the rounding of another in :class:`WinogradCompactForm`, source px.

    Tiles lie on multiples of 4. Whatever a tile sees changes the rounding of all of its outputs, so from a
    window's border each layer spoils one tile more; the pixel of the direct layer lies in the first of them.
    """
    layers: list[nn.Module] = list(module.body)  # type: ignore[arg-type]
    return TILE_PX * (len(layers) // 2)
