"""What an ONNX file says about itself, read from its protobuf without loading it.

Field numbers are those of ``onnx.proto`` (ONNX IR); weights are skipped, not read.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from imgpipe.errors import ModelError, WeightsRefused

#: Message -> number of a field with messages inside -> what they are: the ways to every tensor.
_INSIDE: Mapping[str, Mapping[int, str]] = {
    "model": {7: "graph", 14: "property", 25: "function"},
    "graph": {1: "node", 5: "tensor", 12: "output", 15: "sparse"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "external"},
}
_DEEPEST = 64
#: Protobuf's wire type -> length in bytes where it is fixed.
_FIXED = {1: 8, 5: 4}


@dataclass(slots=True)
class OnnxHeader:
    """``outputs``: names of the graph's outputs; ``metadata``: the model's own properties; ``external``:
    names of the files beside this one that hold some of its tensors."""

    outputs: list[str] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)
    external: set[str] = field(default_factory=set)


def read_header(path: Path) -> OnnxHeader:
    """The header of an ONNX file; raises :class:`WeightsRefused` where it is none."""
    header = OnnxHeader()
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            _walk(data, 0, len(data), ("model",), header)
        if not header.outputs:
            raise ValueError("no graph with an output")
    except OSError as exc:
        raise ModelError(f"{path}: expected a readable weights file: {exc}") from exc
    except (ValueError, IndexError) as exc:  # an empty file cannot be mapped: ValueError
        raise WeightsRefused(
            f"{path}: expected an ONNX network, got another file ({exc}); export or fetch it again"
        ) from exc
    return header


def _walk(data: mmap.mmap, start: int, end: int, way: tuple[str, ...], header: OnnxHeader) -> None:
    if len(way) > _DEEPEST:
        raise ValueError(f"graphs nested more than {_DEEPEST} deep")
    inside = _INSIDE[way[-1]]
    for number, begin, stop in _fields(data, start, end):
        kind = inside.get(number, "")
        if kind in _INSIDE:
            _walk(data, begin, stop, (*way, kind), header)
        elif kind == "property":
            name, value = _pair(data, begin, stop)
            header.metadata[name] = value
        elif kind == "external":
            name, value = _pair(data, begin, stop)
            if name == "location":
                header.external.add(value)
        elif kind == "output" and way == ("model", "graph"):
            header.outputs.append(_pair(data, begin, stop)[0])


def _pair(data: mmap.mmap, start: int, end: int) -> tuple[str, str]:
    """The texts of fields 1 and 2."""
    texts = {number: data[begin:stop] for number, begin, stop in _fields(data, start, end)}
    return texts.get(1, b"").decode(), texts.get(2, b"").decode(errors="replace")


def _fields(data: mmap.mmap, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(number, begin, end) of each field with a length; raises ``ValueError`` where there is no message."""
    while start < end:
        tag, start = _varint(data, start)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            _, start = _varint(data, start)
        elif wire == 2:
            length, start = _varint(data, start)
            if start + length > end:
                raise ValueError(f"a field of {length} bytes ends behind its message")
            yield number, start, start + length
            start += length
        elif wire in _FIXED:
            start += _FIXED[wire]
        else:
            raise ValueError(f"unknown wire type {wire}")


def _varint(data: mmap.mmap, start: int) -> tuple[int, int]:
    """(value, where it ends)."""
    value = 0
    for shift in range(0, 70, 7):
        byte = data[start]
        start += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, start
    raise ValueError("a number of more than 10 bytes")
