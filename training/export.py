"""The network's two files: fp16 safetensors, and an ONNX graph with fp16 weights that computes in fp32."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx
import safetensors.torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

_OPSET = 13


def write_files(weights: dict[str, Tensor], stem: Path, metadata: dict[str, str]) -> None:
    """Write ``stem``.safetensors and ``stem``.onnx from SRVGGNetCompact's ``weights``."""
    halves = {name: value.half().contiguous() for name, value in weights.items()}
    stem.parent.mkdir(parents=True, exist_ok=True)
    stem.with_name(stem.name + ".safetensors").write_bytes(safetensors.torch.save(halves, metadata))
    model = graph(halves)
    helper.set_model_props(model, metadata)
    onnx.save(model, stem.with_name(stem.name + ".onnx"))


def graph(weights: dict[str, Tensor]) -> onnx.ModelProto:
    """One input ``input`` (n, 3, h, w) float32, RGB in 0..1; one output ``output`` (n, 3, h * s, w * s).

    At scale 1 the sides are even and a fourth channel of the input is the strength, 0..1: 0 leaves the
    picture as it is, exactly.
    """
    nodes, stored = [], []

    def constant(name: str) -> str:
        values = weights[name].numpy()
        if scale > 1 and name.startswith(f"body.{layers[-1]}."):
            # Pixels first, then their colours: so each pixel lies together.
            values = values.reshape(3, cell**2, *values.shape[1:]).swapaxes(0, 1).reshape(values.shape)
        stored.append(
            numpy_helper.from_array(values[:, None, None] if _is_slope(weights, name) else values, name)
        )
        nodes.append(helper.make_node("Cast", [name], [f"{name}.fp32"], to=TensorProto.FLOAT))
        return f"{name}.fp32"

    layers = sorted({int(name.split(".")[1]) for name in weights})
    cell = math.isqrt(weights[f"body.{layers[-1]}.bias"].numel() // 3)
    inputs, kernel = weights["body.0.weight"].shape[1:3]
    scale = cell if inputs == 3 else 1
    value = "input"
    if scale == 1:
        stored.append(numpy_helper.from_array(np.array([3, 1]), "channels"))
        nodes.append(helper.make_node("Split", ["input", "channels"], ["picture", "strength"], axis=1))
    for number in layers:
        name = f"body.{number}"
        if _is_slope(weights, f"{name}.weight"):
            nodes.append(helper.make_node("PRelu", [value, constant(f"{name}.weight")], [name]))
        else:
            edge = kernel if number == 0 else 3
            nodes.append(
                helper.make_node(
                    "Conv", [value, constant(f"{name}.weight"), constant(f"{name}.bias")], [name],
                    kernel_shape=[edge] * 2, strides=[edge // 3] * 2, pads=[edge // 3] * 4,
                )
            )  # fmt: skip
        value = name
    if scale == 1:
        nodes += [
            helper.make_node("DepthToSpace", [value], ["whole detail"], blocksize=cell, mode="CRD"),
            helper.make_node("Mul", ["whole detail", "strength"], ["detail"]),
            helper.make_node("Add", ["picture", "detail"], ["output"]),
        ]
    else:
        # The nearest neighbour before the shuffle: a source pixel's colour for each of its pixels.
        nodes += [
            helper.make_node("Concat", ["input"] * cell**2, ["base"], axis=1),
            helper.make_node("Add", ["base", value], ["pixels"]),
            helper.make_node("DepthToSpace", ["pixels"], ["output"], blocksize=cell, mode="DCR"),
        ]
    made = helper.make_graph(
        nodes,
        "imgpipe",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 3 + (scale == 1), "h", "w"])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", 3, "out_h", "out_w"])],
        stored,
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", _OPSET)], producer_name="imgpipe")
    model.ir_version = 8
    onnx.checker.check_model(model, full_check=True)
    return model


def _is_slope(weights: dict[str, Tensor], name: str) -> bool:
    return weights[name].ndim == 1 and name.endswith(".weight")
