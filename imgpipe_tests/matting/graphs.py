"""Small ONNX graphs with a matting network's contract: (batch, 3, n, n) -> (batch, 1, n, n)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from imgpipe.settings.contracts import CONTRACTS, Contract

Nodes = tuple[list[onnx.NodeProto], list[onnx.TensorProto]]

#: As isnet-anime is fed, for a graph of any fixed size with one output.
TINY: Mapping[str, Any] = {"fit": "letterbox", "mean": [0, 0, 0], "std": [1, 1, 1], "output": "probability"}


def tiny(**changes: object) -> Contract:
    return Contract.model_validate({**TINY, **changes})


def resized(name: str, size: int) -> Contract:
    """A named contract for a graph of another size."""
    return CONTRACTS[name].model_copy(update={"size": size})


def write_graph(
    path: Path,
    nodes: Callable[[], Nodes],
    size: int | str | tuple[int, int],
    batch: int | str = 1,
    *,
    outputs: Sequence[str] = ("mask",),
    half: bool = False,
    stated: str | None = json.dumps(TINY),
) -> Path:
    """The graph from ``img`` to ``mask`` that ``nodes`` describes.

    ``size``: (height, width), a side, or a name for a free one. ``half``: float16 throughout. ``stated``: the
    contract in its metadata.
    """
    made, constants = nodes()
    kind = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    if half:
        constants = [
            numpy_helper.from_array(numpy_helper.to_array(one).astype(np.float16), one.name)
            for one in constants
        ]
    sides = size if isinstance(size, tuple) else (size, size)
    graph = helper.make_graph(
        made,
        "tiny",
        [helper.make_tensor_value_info("img", kind, (batch, 3, *sides))],
        [helper.make_tensor_value_info(name, kind, (batch, 1, *sides)) for name in outputs],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    if stated is not None:
        helper.set_model_props(model, {"imgpipe.contract": stated})
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
