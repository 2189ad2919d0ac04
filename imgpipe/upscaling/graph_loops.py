"""A network by OpenVINO, from float32 pictures to 16-bit levels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from imgpipe.inference.memory_model import MemoryModel
from imgpipe.inference.openvino_network import Graph, library
from imgpipe.upscaling.network import NATIVE_MAX, WHOLE, Floats, Strip, Strips


def with_levels(model: Any, scale: int) -> Any:
    """``model`` (n, 3, h, w) -> (n, 3, h * scale, w * scale) with what a :class:`Strip` needs as outputs.

    They are the levels (n, h * scale, w * scale, 3) uint16, the means (n, h, w, 3) float32 of the clipped
    output over each source pixel's area, and the sums (n,) of the output as it is: a sum is finite where all
    of it is. OpenVINO computes what follows the last convolution in float32.
    """
    openvino = library()
    op = openvino.opset13
    result = op.convert(model.output(0).get_node().input_value(0), "f32")
    clipped = op.clamp(result, 0.0, 1.0)
    levels = op.add(op.multiply(clipped, np.float32(NATIVE_MAX)), np.float32(0.5))
    cell = [scale, scale]
    mean = op.avg_pool(clipped, cell, [0, 0], [0, 0], cell, exclude_pad=True)
    outputs = [
        op.transpose(op.convert(levels, "u16"), [0, 2, 3, 1]),
        op.transpose(mean, [0, 2, 3, 1]),
        op.reduce_sum(result, np.array([1, 2, 3]), keep_dims=False),
    ]
    return openvino.Model(outputs, model.get_parameters())


class GraphLoops:
    """``whole``: graphs that run one after another on the whole window; ``tail``: one of :func:`with_levels`,
    in strips as ``cut`` says."""

    def __init__(
        self,
        tail: Graph,
        scale: int,
        memory: MemoryModel,
        whole: Sequence[Graph] = (),
        cut: Strips = WHOLE,
    ) -> None:
        self.scale = scale
        self._memory = memory
        self._whole = whole
        self._tail = tail
        self._cut = cut

    def strips(self, windows: Floats) -> Iterator[tuple[Strip, bool]]:
        """(strip of all windows, whether it is finite) from top to bottom."""
        values = windows.transpose(0, 3, 1, 2)
        for graph in self._whole:
            (values,) = graph(values)
        count, _, height, width = values.shape
        for start, stop, first, last in self._cut.of(height, width * count):
            levels, mean, sums = self._tail(values[:, :, first:last])
            whole = (levels, mean) if stop - start == height else None
            above, below = start - first, stop - first
            rows = levels[:, above * self.scale : below * self.scale]
            yield Strip(start, rows, mean[:, above:below], whole), bool(np.isfinite(sums).all())

    def memory_model(self) -> MemoryModel:
        """What a window takes."""
        return self._memory
