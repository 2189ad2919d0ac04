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

    They are the levels (n, h * scale, w * scale, 3) uint16, their rows and columns perhaps as more axes, the
    means (n, h, w, 3) float32 of the clipped output over each source pixel's area, and the sums (n,) of the
    output as it is: a sum is finite where all of it is. What follows the last convolution is in float32.
    """
    op = library().opset13
    last = model.output(0).get_node().input_value(0)
    shuffle = last.get_node()
    if shuffle.get_type_name() == "DepthToSpace" and shuffle.get_attributes() == {
        "mode": "blocks_first",
        "block_size": scale,
    }:
        outputs = _levels_before_shuffle(op, shuffle.input_value(0), scale)
    else:
        outputs = _levels_of_picture(op, last, scale)
    return library().Model(outputs, model.get_parameters())


def _levels_of_picture(op: Any, picture: Any, scale: int) -> list[Any]:
    result = op.convert(picture, "f32")
    clipped = op.clamp(result, 0.0, 1.0)
    levels = op.add(op.multiply(clipped, np.float32(NATIVE_MAX)), np.float32(0.5))
    cell = [scale, scale]
    mean = op.avg_pool(clipped, cell, [0, 0], [0, 0], cell, exclude_pad=True)
    return [
        op.transpose(op.convert(levels, "u16"), [0, 2, 3, 1]),
        op.transpose(mean, [0, 2, 3, 1]),
        op.reduce_sum(result, np.array([1, 2, 3]), keep_dims=False),
    ]


def _levels_before_shuffle(op: Any, pixels: Any, scale: int) -> list[Any]:
    """The same from ``pixels`` (n, scale * scale * 3, h, w): rows of a source pixel's area, columns, colours.

    OpenVINO keeps a pixel's channels together, which is slow where they are three. The levels have the axes
    (n, h, rows, w, columns and colours) and lie as those of a picture do. The means are those of the levels.
    """
    result = op.convert(pixels, "f32")
    scaled = op.multiply(op.clamp(result, 0.0, 1.0), np.float32(NATIVE_MAX))
    # A fifth axis lets sizes be copied by their place: OpenVINO fuses less where a graph asks for shapes.
    levels = op.unsqueeze(op.convert(op.add(scaled, np.float32(0.5)), "u16"), np.array(1))
    rows = op.reshape(levels, [0, scale, scale * 3, 0, 0], special_zero=True)
    values = op.convert(op.reshape(levels, [0, scale**2, 3, 0, 0], special_zero=True), "f32")
    mean = op.multiply(op.reduce_mean(values, [1], keep_dims=False), np.float32(1 / NATIVE_MAX))
    # By a convolution, since a sum over channels would be moved into another layout first.
    ones = np.ones((1, scale**2 * 3, 1, 1), np.float32)
    sums = op.convolution(result, ones, [1, 1], [0, 0], [0, 0], [1, 1])
    return [
        op.transpose(rows, [0, 3, 1, 4, 2]),
        op.transpose(mean, [0, 2, 3, 1]),
        op.reduce_sum(sums, np.array([1, 2, 3]), keep_dims=False),
    ]


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
            levels = levels.reshape(count, -1, width * self.scale, 3)
            whole = (levels, mean) if stop - start == height else None
            above, below = start - first, stop - first
            rows = levels[:, above * self.scale : below * self.scale]
            yield Strip(start, rows, mean[:, above:below], whole), bool(np.isfinite(sums).all())

    def memory_model(self) -> MemoryModel:
        """What a window takes."""
        return self._memory
