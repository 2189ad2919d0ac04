"""Small ONNX graphs with a matting network's contract: (batch, 3, n, n) float32 -> (batch, 1, n, n)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Nodes = tuple[list[onnx.NodeProto], list[onnx.TensorProto]]


def write_graph(
    path: Path, nodes: Callable[[], Nodes], size: int, batch: int | str = 1, out_channels: int = 1
) -> Path:
    """The graph from ``img`` to ``mask`` that ``nodes`` describes."""
    made, constants = nodes()
    shape: Sequence[int | str] = (batch, 3, size, size)
    out_shape: Sequence[int | str] = (batch, out_channels, size, size)
    graph = helper.make_graph(
        made,
        "tiny",
        [helper.make_tensor_value_info("img", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("mask", TensorProto.FLOAT, out_shape)],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def weighted(red: float, green: float, blue: float, offset: float = 0.0) -> Callable[[], Nodes]:
    """``offset`` + a weighted sum of the input's channels."""

    def nodes() -> Nodes:
        kernel = np.array([red, green, blue], np.float32).reshape(1, 3, 1, 1)
        bias = np.array([offset], np.float32)
        return (
            [helper.make_node("Conv", ["img", "kernel", "bias"], ["mask"])],
            [numpy_helper.from_array(kernel, "kernel"), numpy_helper.from_array(bias, "bias")],
        )

    return nodes


def sigmoid_of(red: float, green: float, blue: float, offset: float = 0.0) -> Callable[[], Nodes]:
    """The logistic function of :func:`weighted`."""

    def nodes() -> Nodes:
        made, constants = weighted(red, green, blue, offset)()
        made[0].output[0] = "logit"
        return [*made, helper.make_node("Sigmoid", ["logit"], ["mask"])], constants

    return nodes


def distance_from(colour: tuple[float, float, float], reach: float) -> Callable[[], Nodes]:
    """Per pixel: the L2 distance to ``colour`` divided by ``reach``, at most 1."""

    def nodes() -> Nodes:
        constants = [
            numpy_helper.from_array(np.array(colour, np.float32).reshape(1, 3, 1, 1), "colour"),
            numpy_helper.from_array(np.array(reach, np.float32), "reach"),
            numpy_helper.from_array(np.array(1, np.float32), "one"),
        ]
        made = [
            helper.make_node("Sub", ["img", "colour"], ["difference"]),
            helper.make_node("ReduceL2", ["difference"], ["length"], axes=[1], keepdims=1),
            helper.make_node("Div", ["length", "reach"], ["relative"]),
            helper.make_node("Min", ["relative", "one"], ["mask"]),
        ]
        return made, constants

    return nodes


def slow(layers: int, channels: int = 48) -> Callable[[], Nodes]:
    """A mask that takes time: ``layers`` convolutions of 3x3 with ``channels`` channels, seeded."""

    def nodes() -> Nodes:
        rng = np.random.default_rng(0)

        def kernel(name: str, *shape: int) -> onnx.TensorProto:
            return numpy_helper.from_array(rng.normal(0, 0.05, shape).astype(np.float32), name)

        made = [helper.make_node("Conv", ["img", "k0"], ["x0"], pads=[1, 1, 1, 1])]
        constants = [kernel("k0", channels, 3, 3, 3), kernel("last", 1, channels, 1, 1)]
        for layer in range(1, layers):
            constants.append(kernel(f"k{layer}", channels, channels, 3, 3))
            convolution = [f"x{layer - 1}", f"k{layer}"]
            made.append(helper.make_node("Conv", convolution, [f"c{layer}"], pads=[1, 1, 1, 1]))
            made.append(helper.make_node("Relu", [f"c{layer}"], [f"x{layer}"]))
        made.append(helper.make_node("Conv", [f"x{layers - 1}", "last"], ["logit"]))
        return [*made, helper.make_node("Sigmoid", ["logit"], ["mask"])], constants

    return nodes
