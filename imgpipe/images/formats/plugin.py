"""HEIC and JPEG XL through their Pillow plugins, where those are installed.

The plugins hand out 8 bits; deeper pictures are refused rather than cut.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import io

import PIL.Image

from imgpipe.errors import EncodeError, UnsupportedFormat
from imgpipe.images.sniff import PLUGIN_FORMATS


def open_image(fmt: str, data: bytes, depth: int, name: str) -> PIL.Image.Image:
    """The opened picture of ``depth`` bits, as its header says; HEIC is decoded when it is loaded, JPEG XL
    at once. Raises :class:`UnsupportedFormat` for more than 8 bits."""
    if depth > 8:
        raise _too_deep(fmt, depth, name)
    module = importlib.import_module(PLUGIN_FORMATS[fmt][0])
    if fmt == "HEIC":
        module.register_heif_opener()
    image = PIL.Image.open(io.BytesIO(data))
    depth = int(image.info.get("bit_depth", 8))
    if depth > 8 or image.mode not in ("L", "LA", "RGB", "RGBA"):
        raise _too_deep(fmt, depth, name)
    return image


def _too_deep(fmt: str, depth: int, name: str) -> UnsupportedFormat:
    return UnsupportedFormat(
        f"{name}: expected a {fmt} of 8 bits per channel, got {depth}, which the plugin would cut to 8; "
        "convert it to PNG or TIFF with 16 bits"
    )


@functools.cache
def jxl_srgb_profile(mode: str) -> bytes | None:
    """The profile that a JPEG XL in sRGB, and one of ours therefore, comes with; ``mode``: Pillow's."""
    written = write_jxl(PIL.Image.new(mode, (1, 1)), 1, None, None)
    profile: bytes | None = open_image("JXL", written, 8, "a pixel").info.get("icc_profile")
    return profile


def write_jxl(picture: PIL.Image.Image, effort: int, exif: bytes | None, xmp: bytes | None) -> bytes:
    """A lossless JPEG XL of an ``L``, ``LA``, ``RGB`` or ``RGBA`` picture; ``effort`` 1..9.

    Raises :class:`EncodeError` where the plugin is not installed.
    """
    module, package = PLUGIN_FORMATS["JXL"]
    if importlib.util.find_spec(module) is None:
        raise EncodeError(f"JPEG XL: needs the package {package}; install it or write PNG")
    importlib.import_module(module)
    buffer = io.BytesIO()
    picture.save(
        buffer, "JXL", lossless=True, effort=effort, use_container=bool(exif or xmp), exif=exif, xmp=xmp
    )
    return buffer.getvalue()
