"""Frozen TensorFlow graphs with known answers, written byte by byte: the field numbers are graph.proto's."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_FLOAT, _INT32 = 1, 3


def _varint(value: int) -> bytes:
    parts = []
    while True:
        value, low = value >> 7, value & 0x7F
        parts.append(low | (0x80 if value else 0))
        if not value:
            return bytes(parts)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _attribute(name: str, value: bytes) -> bytes:
    return _bytes(5, _bytes(1, name.encode()) + _bytes(2, value))


def _node(name: str, op: str, inputs: tuple[str, ...] = (), attributes: bytes = b"") -> bytes:
    body = _bytes(1, name.encode()) + _bytes(2, op.encode())
    body += b"".join(_bytes(3, value.encode()) for value in inputs)
    return _bytes(1, body + attributes)


def _constant(name: str, values: npt.NDArray[np.float32]) -> bytes:
    shape = b"".join(_bytes(2, _number(1, size)) for size in values.shape)
    tensor = _number(1, _FLOAT) + _bytes(2, shape) + _bytes(4, values.astype("<f4").tobytes())
    return _node(
        name, "Const", (), _attribute("dtype", _number(6, _FLOAT)) + _attribute("value", _bytes(8, tensor))
    )


def luma_blur(scale: int, radius: int) -> bytes:
    """A network as ESPCN: a box filter of (2 radius + 1)^2 on one channel, then depth to space."""
    edge = 2 * radius + 1
    kernel = np.full((edge, edge, 1, scale**2), 1 / edge**2, np.float32)
    floats = _attribute("T", _number(6, _FLOAT))
    strides = _attribute("strides", _bytes(1, _bytes(3, bytes([1, 1, 1, 1]))))
    convolution = floats + strides + _attribute("padding", _bytes(2, b"SAME"))
    layout = _attribute("data_format", _bytes(2, b"NHWC"))
    return b"".join(
        [
            _node("input", "Placeholder", (), _attribute("dtype", _number(6, _FLOAT))),
            _constant("kernel", kernel),
            _node("blurred", "Conv2D", ("input", "kernel"), convolution + layout),
            _node(
                "output",
                "DepthToSpace",
                ("blurred",),
                floats + layout + _attribute("block_size", _number(3, scale)),
            ),
        ]
    )
