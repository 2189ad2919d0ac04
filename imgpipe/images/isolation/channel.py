"""Protocol of a worker and its owner: small JSON packets over a socket pair, bulk in shared memory.

Each worker has two anonymous memory files (``memfd_create``), one for requests and one for answers, which are
reused: fresh pages would cost more than the copies. They need no file system and no ``/dev/shm``. Nothing is
pickled and nothing that the worker sends is executed: JSON, bytes and numbers only. Neither side maps the
files, so that truncation by the other side is a read error and no signal.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from imgpipe import errors
from imgpipe.errors import ImgpipeError
from imgpipe.images.container import Header
from imgpipe.images.image import Image, JpegCoding

Buffer = bytes | memoryview
Message = dict[str, Any]
#: What a worker answers, besides errors: a picture, what a file says of its picture, or float32 values.
Answer = Image | Header | npt.NDArray[Any]

#: What receiving and unpacking raise for an invalid message.
INVALID_MESSAGE = (ValueError, LookupError, TypeError, AttributeError, OSError)

_PACKET_BYTES = 131_072
_BLOCKS = ("icc", "exif", "xmp")


def send(channel: socket.socket, message: Message) -> None:
    """One packet; raises :class:`OSError` where the peer is gone."""
    channel.send(json.dumps(message).encode())


def receive(channel: socket.socket) -> Message | None:
    """The next packet, ``None`` once the peer is gone; raises one of ``INVALID_MESSAGE``."""
    packet = channel.recv(_PACKET_BYTES)
    if not packet:
        return None
    message = json.loads(packet)
    if not isinstance(message, dict):
        raise TypeError(f"expected an object, got {packet[:100]!r}")
    return message


def write(memory: int, parts: Iterable[Buffer]) -> int:
    """The parts one after another from the start of a memory file; how many bytes that were."""
    at = 0
    for part in parts:
        rest = memoryview(part)
        while rest.nbytes:
            written = os.pwrite(memory, rest, at)
            at, rest = at + written, rest[written:]
    return at


def read(memory: int, start: int, size: int) -> bytes:
    parts = []
    while size > 0:
        part = os.pread(memory, size, start)
        if not part:
            raise ValueError(f"the memory ends at byte {start}, {size} more were announced")
        parts.append(part)
        start, size = start + len(part), size - len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def pack(answer: Answer | ImgpipeError) -> tuple[Message, list[Buffer]]:
    """The message and the bulk from which :func:`unpack` restores the answer."""
    if isinstance(answer, Image):
        return _pack_image(answer)
    if isinstance(answer, Header):
        return {"header": asdict(answer)}, []
    if isinstance(answer, ImgpipeError):
        text = json.dumps(str(answer)).encode()
        return {"error": type(answer).__name__, "text": len(text)}, [text]
    return {"values": answer.shape}, [np.ascontiguousarray(answer, np.float32).data.cast("B")]


def unpack(message: Message, memory: int) -> Answer | ImgpipeError:
    """What the worker packed; raises one of ``INVALID_MESSAGE``, or :class:`MemoryError`."""
    if "error" in message:
        return _known_error(message["error"])(json.loads(read(memory, 0, message["text"])))
    if "header" in message:
        kinds = (str, int, int, int, int, int, bool)
        fields = asdict(Header(**message["header"]))
        return Header(*(kind(value) for kind, value in zip(kinds, fields.values(), strict=True)))
    if "values" in message:
        values = np.empty(message["values"], np.float32)
        _read_into(memory, values.data.cast("B"))
        return values
    return _unpack_image(message, memory)


def _pack_image(image: Image) -> tuple[Message, list[Buffer]]:
    blocks = {name: getattr(image, name) for name in _BLOCKS}
    notes = json.dumps(image.notes).encode()
    message = {
        "shape": image.pixels.shape,
        "dtype": image.pixels.dtype.name,
        "format": image.source_format,
        "sizes": {name: None if block is None else len(block) for name, block in blocks.items()},
        "notes": len(notes),
        "dpi": image.dpi,
        "jpeg": image.jpeg and (image.jpeg.luma, image.jpeg.chroma, image.jpeg.sampling),
    }
    pixels = image.pixels.data.cast("B")
    return message, [pixels, *(block for block in blocks.values() if block), notes]


def _unpack_image(message: Message, memory: int) -> Image:
    pixels = np.empty(message["shape"], {"uint8": np.uint8, "uint16": np.uint16}[message["dtype"]])
    _read_into(memory, pixels.data.cast("B"))
    at = pixels.nbytes
    blocks: dict[str, bytes | None] = {}
    for name in _BLOCKS:
        size = message["sizes"][name]
        blocks[name] = None if size is None else read(memory, at, size)
        at += size or 0
    notes = tuple(json.loads(read(memory, at, message["notes"])))
    dpi = message["dpi"] and (float(message["dpi"][0]), float(message["dpi"][1]))
    jpeg = message["jpeg"] and JpegCoding(*map(tuple, message["jpeg"]))
    return Image(pixels, **blocks, source_format=message["format"], notes=notes, dpi=dpi, jpeg=jpeg)


def _read_into(memory: int, target: memoryview) -> None:
    at = 0
    while at < target.nbytes:
        count = os.preadv(memory, [target[at:]], at)
        if not count:
            raise ValueError(f"the memory ends at byte {at} of {target.nbytes}")
        at += count


def _known_error(name: str) -> type[ImgpipeError]:
    found: object = getattr(errors, name)
    if not isinstance(found, type) or not issubclass(found, ImgpipeError):
        raise TypeError(f"{name} is not one of imgpipe's errors")
    return found
