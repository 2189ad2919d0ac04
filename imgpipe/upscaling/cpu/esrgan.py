"""RRDBNet by the matrix unit, in bf16."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from imgpipe.inference.memory_model import MemoryModel
from imgpipe.inference.torch_network import SCRATCH_FACTOR, peak_tensor_bytes
from imgpipe.upscaling.cpu import dense, tail
from imgpipe.upscaling.cpu.compiled import CHANNELS
from imgpipe.upscaling.cpu.dense import DENSE, GROWTH
from imgpipe.upscaling.cpu.layers import Bfloats, Floats
from imgpipe.upscaling.network import Strip
from imgpipe.upscaling.network_forms import has_esrgan_form, is_3x3
from imgpipe.upscaling.quantising_network import strip_of_rows

#: Source pixels of a strip: in wide pictures still enough rows for each thread.
_STRIP_PIXELS = 131_072


class EsrganLoops:
    """RRDBNet by :class:`_EsrganForm`; see :class:`imgpipe.upscaling.checked_network.Loops`."""

    def __init__(self, module: nn.Module) -> None:
        form = _EsrganForm(module).eval().requires_grad_(False)
        self._form = form.to(memory_format=torch.channels_last)
        self.scale = form.factor

    def strips(self, windows: Floats) -> Iterator[tuple[Strip, bool]]:
        """(strip of all windows, whether it is finite) from top to bottom."""
        pixels = torch.from_numpy(np.ascontiguousarray(windows)).permute(0, 3, 1, 2)
        for start, rows in self._form.strips(pixels):
            finite = bool(torch.isfinite(rows.sum()))  # NaN and infinity survive a sum
            yield strip_of_rows(start, rows.permute(0, 2, 3, 1), self.scale), finite

    def memory_model(self) -> MemoryModel:
        """What a window takes, from the tensors that are alive at once."""
        return MemoryModel.of_peaks(partial(peak_tensor_bytes, self._form), SCRATCH_FACTOR)


class _EsrganForm(nn.Module):
    """The first convolution in fp32, the trunk's last one by torch, all others by the matrix unit."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        layers = cast(Any, module).model
        blocks = [block for rrdb in _rrdbs(module) for block in _blocks(rrdb)]
        convolutions = [_convolution(block, index) for block in blocks for index in range(1, 6)]
        self._blocks = dense.dense_trunk([_weight_and_bias(each) for each in convolutions], _slope(blocks[0]))
        after = [*_tail_pairs(module), (layers[-1], None)]
        slopes = [activation.negative_slope for _, activation in after if activation is not None]
        self._tail = tail.packed_tail([_weight_and_bias(each) for each, _ in after], slopes)
        self._entry = copy.deepcopy(layers[0]).float()
        self._join = copy.deepcopy(layers[1].sub[-1]).to(torch.bfloat16)
        self.factor = self._tail.factor

    def strips(self, pixels: Tensor) -> Iterator[tuple[int, Tensor]]:
        """(first row, rows of the result as (n, 3, rows, width)) from top to bottom; (n, 3, h, w) float32.

        Tensors without values (of the meta device) give the same shapes; nothing is computed then.
        """
        features = self._features(pixels).permute(0, 2, 3, 1).contiguous()
        count, height, width, _ = features.shape
        plan = tail.TailPlan(width, height, len(self._tail.enlarging))
        spaces = [
            (
                torch.zeros(plan.kept_values, dtype=torch.bfloat16, device=features.device),
                torch.empty(plan.row_values, device=features.device),
            )
            for _ in range(torch.get_num_threads())
        ]
        step = max(1, _STRIP_PIXELS // (width * count))
        for first in range(0, height, step):
            stop = min(height, first + step)
            shape = (count, (stop - first) * self.factor, width * self.factor, 3)
            result = torch.empty(shape, device=features.device)
            if not features.is_meta:
                arrays = [(_bits(kept), line.numpy()) for kept, line in spaces]
                for source, target in zip(features, result, strict=True):
                    tail.compute(self._tail, _bits(source), first, stop, arrays, target.numpy())
            yield first, result.permute(0, 3, 1, 2)

    def _features(self, pixels: Tensor) -> Tensor:
        """What the trunk makes of the pixels: (n, 64, h, w) bf16."""
        entry = self._entry(pixels).to(torch.bfloat16)
        _, channels, height, width = entry.shape
        result = torch.empty_like(entry, memory_format=torch.channels_last)
        for source, target in zip(entry, result, strict=True):
            shape = dense.memory_shape(width, height)
            memory = torch.zeros(shape, dtype=torch.bfloat16, device=entry.device)
            inside = memory[:, 1 : height + 1, 1 : width + 1, :channels]
            inside[0] = source.permute(1, 2, 0)
            piece = 0
            if not entry.is_meta:
                threads = torch.get_num_threads()
                piece = dense.compute(self._blocks, _bits(memory), width, height, threads)
            target.permute(1, 2, 0).copy_(inside[piece])
        joined: Tensor = entry + self._join(result)
        return joined


def _bits(values: Tensor) -> Bfloats:
    bits: Bfloats = values.view(torch.int16).numpy().view(np.uint16)
    return bits


def fits(module: nn.Module) -> bool:
    """Whether :class:`EsrganLoops` computes ``module``, an RRDBNet.

    64 features that grow by 32, leaky ReLU of one slope in the trunk, no 1x1 convolutions beside (ESRGAN+),
    enlarged by its nearest pixels and by 2 each time.
    """
    if not has_esrgan_form(module):
        return False
    blocks = [block for rrdb in _rrdbs(module) for block in _blocks(rrdb)]
    if not blocks or not isinstance(cast(Any, module).model[1].sub[-1], nn.Conv2d):
        return False
    slope = _slope(blocks[0])
    return slope is not None and all(_is_plain(block, slope) for block in blocks) and _has_plain_tail(module)


def _tail_pairs(module: nn.Module) -> list[tuple[nn.Conv2d, nn.LeakyReLU]]:
    """The convolutions between trunk and last one, each with what follows it."""
    layers = [layer for layer in cast(Any, module).model[2:-1] if not isinstance(layer, nn.Upsample)]
    return list(zip(layers[0::2], layers[1::2], strict=True))


def _has_plain_tail(module: nn.Module) -> bool:
    layers = list(cast(Any, module).model[2:])
    kinds = [type(layer) for layer in layers]
    enlarged = [nn.Upsample, nn.Conv2d, nn.LeakyReLU] * (kinds.count(nn.Upsample))
    if kinds != [*enlarged, nn.Conv2d, nn.LeakyReLU, nn.Conv2d]:
        return False
    convolutions = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
    upsamples = [layer for layer in layers if isinstance(layer, nn.Upsample)]
    return (
        all(is_3x3(each) and each.bias is not None for each in convolutions)
        and all(each.in_channels == CHANNELS for each in convolutions)
        and all(each.out_channels == CHANNELS for each in convolutions[:-1])
        and all(each.mode == "nearest" and each.scale_factor == 2 for each in upsamples)
    )


def _rrdbs(module: nn.Module) -> list[nn.Module]:
    sub = getattr(cast(Any, module).model[1], "sub", None)
    return list(sub)[:-1] if isinstance(sub, nn.Sequential) else []


def _blocks(rrdb: nn.Module) -> Iterator[nn.Module]:
    for name in ("RDB1", "RDB2", "RDB3"):
        yield getattr(rrdb, name)


def _layers(block: nn.Module, index: int) -> list[nn.Module]:
    return list(getattr(block, f"conv{index}"))


def _convolution(block: nn.Module, index: int) -> nn.Conv2d:
    return cast(nn.Conv2d, _layers(block, index)[0])


def _slope(block: nn.Module) -> Any:
    activation = _layers(block, 1)[-1]
    return activation.negative_slope if isinstance(activation, nn.LeakyReLU) else None


def _is_plain(block: nn.Module, slope: float) -> bool:
    if getattr(block, "conv1x1", None) is not None:
        return False
    for index in range(1, 6):
        layers = _layers(block, index)
        convolution = layers[0]
        outputs = CHANNELS if index == 5 else GROWTH
        if not isinstance(convolution, nn.Conv2d) or not is_3x3(convolution) or convolution.bias is None:
            return False
        if (convolution.in_channels, convolution.out_channels) != (DENSE - (5 - index) * GROWTH, outputs):
            return False
        rest = layers[1:]
        if index == 5 and rest:
            return False
        if index < 5 and not (
            len(rest) == 1 and isinstance(rest[0], nn.LeakyReLU) and rest[0].negative_slope == slope
        ):
            return False
    return True


def _weight_and_bias(convolution: nn.Conv2d) -> tuple[Floats, Floats]:
    bias = cast(Tensor, convolution.bias)
    return convolution.weight.detach().float().numpy(), bias.detach().float().numpy()
