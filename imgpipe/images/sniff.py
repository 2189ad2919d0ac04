"""File format from the first bytes; the name is ignored."""

from __future__ import annotations

import importlib.util

from imgpipe.errors import DecodeError, UnsupportedFormat

#: Formats that are always decoded.
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "AVIF")

#: Formats that need a Pillow plugin: format -> (module, package to install).
PLUGIN_FORMATS = {"HEIC": ("pillow_heif", "pillow-heif"), "JXL": ("pillow_jxl", "pillow-jxl-plugin")}

_IMAGES: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8", "JPEG"),  # the next marker's FF may stand behind other bytes
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"II+\x00", "TIFF"),
    (b"MM\x00+", "TIFF"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"\xff\x0a", "JXL"),
    (b"\x00\x00\x00\x0cJXL \r\n\x87\n", "JXL"),
)

_OTHERS: tuple[tuple[bytes, str], ...] = (
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a zip archive"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"\x1f\x8b", "gzip data"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"8BPS", "a Photoshop document"),
    (b"\x76\x2f\x31\x01", "an OpenEXR image"),
    (b"\x00\x00\x01\x00", "a Windows icon"),
    (b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 image"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 image"),
    (b"#?RADIANCE", "a Radiance HDR image"),
    (b"DDS ", "a DirectDraw texture"),
    (b"\x7fELF", "an ELF program"),
    (b"MZ", "a Windows program"),
    (b"%!PS", "a PostScript document"),
    (b"gimp xcf", "a GIMP document"),
)

_BMP_HEADER_SIZES = {12, 16, 40, 52, 56, 64, 108, 124}
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"}


def accepted_formats() -> tuple[str, ...]:
    """The allow-list of this installation: the built-in formats and those whose plugin is present."""
    present = [fmt for fmt, (module, _) in PLUGIN_FORMATS.items() if importlib.util.find_spec(module)]
    return (*FORMATS, *present)


def sniff(data: bytes, name: str) -> str:
    """The format of ``data`` by content: ``PNG``, ``JPEG``, ``WEBP``, ``TIFF``, ``GIF``, ``BMP``, ``AVIF``,
    and ``HEIC``, ``JXL`` where their plugins are installed.

    ``name`` is only used in messages. Raises :class:`DecodeError` for an empty file and
    :class:`UnsupportedFormat` for anything that is not on the allow-list.
    """
    if not data:
        raise DecodeError(f"{name}: expected an image, got an empty file (0 bytes); fetch or export it again")
    found = _image_format(data)
    accepted = accepted_formats()
    if found in accepted:
        return found
    listed = ", ".join(accepted)
    if found in PLUGIN_FORMATS:
        package = PLUGIN_FORMATS[found][1]
        raise UnsupportedFormat(
            f"{name}: this is a {found} image, which needs the package {package}; "
            f"install it or convert the file to one of {listed}"
        )
    raise UnsupportedFormat(
        f"{name}: expected one of {listed}, got {_describe(data)}; "
        "convert the file or take it out of the source"
    )


def _image_format(data: bytes) -> str:
    for magic, fmt in _IMAGES:
        if data.startswith(magic):
            return fmt
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[:2] == b"BM" and int.from_bytes(data[14:18], "little") in _BMP_HEADER_SIZES:
        return "BMP"
    brands = _iso_brands(data)
    if brands & {b"avif", b"avis"}:
        return "AVIF"
    return "HEIC" if brands & _HEIC_BRANDS else ""


def _iso_brands(data: bytes) -> set[bytes]:
    """The major and compatible brands of an ISO base media file (ISO 14496-12, ``ftyp``)."""
    if data[4:8] != b"ftyp":
        return set()
    end = min(int.from_bytes(data[:4], "big"), len(data), 256)
    return {data[8:12], *(data[at : at + 4] for at in range(16, end, 4))}


def _describe(data: bytes) -> str:
    for magic, what in _OTHERS:
        if data.startswith(magic):
            return what
    if data[4:8] == b"ftyp":
        return f"an ISO media file of brand {data[8:12].decode('latin-1')!r} (a video?)"
    if data[:4] == b"RIFF":
        return f"a RIFF file of kind {data[8:12].decode('latin-1')!r}"
    head = data[:4096]
    if not head.strip(b"\x00"):
        return f"{len(data)} bytes that are zero"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if b"<svg" in text and text[:1] == b"<":
        return "an SVG drawing (vector, no pixels)"
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "an HTML page (an error page saved as an image?)"
    if text[:1] == b"<":
        return "XML or HTML text"
    if _is_text(head):
        return f"text starting with {head[:24].decode('utf-8', 'replace')!r}"
    return f"unknown bytes starting with {data[:8].hex(' ')}"


def _is_text(head: bytes) -> bool:
    if any(byte < 32 and byte not in b"\t\n\r\f" for byte in head):
        return False
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as exc:
        # A character cut in two by the 4096-byte window is still text.
        return exc.start >= len(head) - 3
    return True
