"""RRDBNet with the dense blocks of its trunk computed by the CPU's matrix unit, in bf16."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from imgpipe.upscaling.amx_dense import DENSE, GROWTH, DenseTrunk, compute, dense_trunk, memory_shape
from imgpipe.upscaling.amx_instructions import amx_is_usable
from imgpipe.upscaling.compiled import CHANNELS
from imgpipe.upscaling.network_forms import EsrganForm
from imgpipe.upscaling.row_stream import can_stream


class AmxEsrganForm(EsrganForm):
    """The first and last convolution in fp32 and the tail in strips as in :class:`EsrganForm`.

    Raises RuntimeError without a matrix unit.
    """

    def __init__(self, module: nn.Module, dtype: torch.dtype, device_type: str) -> None:
        if not amx_is_usable():
            raise RuntimeError("expected AMX-BF16 in CPU, kernel and compiler; ask amx_is_usable() first")
        super().__init__(module, dtype, device_type)
        blocks = [block for rrdb in _rrdbs(module) for block in _blocks(rrdb)]
        convolutions = [_convolution(block, index) for block in blocks for index in range(1, 6)]
        numbers = [(_numbers(layer.weight), _numbers(layer.bias)) for layer in convolutions]
        self._blocks: DenseTrunk = dense_trunk(numbers, _slope(blocks[0]))
        self._join = cast(nn.Sequential, self.trunk.sub)[-1]
        del self.trunk

    def features(self, pixels: Tensor) -> Tensor:
        """See :meth:`EsrganForm.features`."""
        entry = self.entry(pixels).to(self._dtype)
        _, channels, height, width = entry.shape
        result = torch.empty_like(entry, memory_format=torch.channels_last)
        for source, target in zip(entry, result, strict=True):
            memory = torch.zeros(memory_shape(width, height), dtype=self._dtype, device=entry.device)
            inside = memory[:, 1 : height + 1, 1 : width + 1, :channels]
            inside[0] = source.permute(1, 2, 0)
            piece = 0
            if not entry.is_meta:
                values = memory.view(torch.int16).numpy().view(np.uint16)
                piece = compute(self._blocks, values, width, height, torch.get_num_threads())
            target.permute(1, 2, 0).copy_(inside[piece])
        joined: Tensor = entry + self._join(result)
        return joined


def amx_or_torch(module: nn.Module, dtype: torch.dtype, device_type: str) -> nn.Module:
    """The form in which ``module`` runs in ``dtype``: ours in bf16, torch's in fp32."""
    form = AmxEsrganForm if dtype == torch.bfloat16 else EsrganForm
    return form(module, dtype, device_type)


def has_dense_blocks(module: nn.Module) -> bool:
    """Whether the trunk of ``module``, which has the ESRGAN form, is what :mod:`amx_dense` computes.

    64 features that grow by 32, leaky ReLU of one slope, no 1x1 convolutions beside (ESRGAN+).
    """
    blocks = [block for rrdb in _rrdbs(module) for block in _blocks(rrdb)]
    if not blocks or not isinstance(cast(Any, module).model[1].sub[-1], nn.Conv2d):
        return False
    slope = _slope(blocks[0])
    return slope is not None and all(_is_plain(block, slope) for block in blocks)


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
        if not isinstance(convolution, nn.Conv2d) or not can_stream(convolution) or convolution.bias is None:
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


def _numbers(values: Any) -> np.ndarray[Any, np.dtype[np.float32]]:
    numbers: np.ndarray[Any, np.dtype[np.float32]] = values.detach().float().numpy()
    return numbers
