"""HEIC and JPEG XL through their Pillow plugins, where those are installed.

The plugins hand out 8 bits; deeper pictures are refused rather than cut.
"""

from __future__ import annotations

import importlib
import io

import PIL.Image

from imgpipe.errors import UnsupportedFormat
from imgpipe.images.container import Header, damaged
from imgpipe.images.sniff import PLUGIN_FORMATS


def open_image(fmt: str, data: bytes, name: str) -> PIL.Image.Image:
    """The opened, not yet decoded picture; raises :class:`UnsupportedFormat` for more than 8 bits."""
    module = importlib.import_module(PLUGIN_FORMATS[fmt][0])
    if fmt == "HEIC":
        module.register_heif_opener()
    image = PIL.Image.open(io.BytesIO(data))
    depth = int(image.info.get("bit_depth", 8))
    if depth > 8 or image.mode not in ("L", "LA", "RGB", "RGBA"):
        raise UnsupportedFormat(
            f"{name}: expected a {fmt} of 8 bits per channel, got {depth} bits, mode {image.mode}, which the "
            "plugin would cut to 8; convert it to PNG or TIFF with 16 bits"
        )
    return image


def read_header(fmt: str, data: bytes, name: str) -> Header:
    """Size and frames; the plugins turn the picture upright themselves."""
    try:
        with open_image(fmt, data, name) as image:
            return Header(fmt, image.width, image.height, getattr(image, "n_frames", 1))
    except (OSError, SyntaxError, ValueError) as exc:
        raise damaged(name, f"the {fmt} cannot be opened ({exc})") from exc
