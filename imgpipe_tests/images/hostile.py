"""Files that are broken or made to break something: name -> (bytes, what must come of it)."""

from __future__ import annotations

import importlib.util
import io
import struct
import zlib

import numpy as np
import PIL.Image

from imgpipe.errors import DecodeError, ImageError, LimitExceeded, UnsupportedFormat
from imgpipe_tests.images import sources
from imgpipe_tests.images.sources import chunk, png_file

#: Decodes after all: the damage is not in the pixels, or only noted.
GOOD = None
Expected = type[ImageError] | None


def pillow_file(fmt: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    channels = 4 if fmt == "WEBP" and not options.get("opaque") else 3
    options.pop("opaque", None)
    PIL.Image.fromarray(sources.picture(channels, 8)).save(buffer, fmt, **options)
    return buffer.getvalue()


def zeros_packed(megabytes: int) -> bytes:
    """Deflated zeros, made without ever holding them."""
    stream, piece = zlib.compressobj(), bytes(1_000_000)
    return b"".join([*(stream.compress(piece) for _ in range(megabytes)), stream.flush()])


def png_header(width: int, height: int) -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def tiff_file(fields: list[tuple[int, int, int, int]], following: int = 0, size: int = 4096) -> bytes:
    """A little-endian TIFF whose first directory is at byte 8; (tag, type, count, value or offset)."""
    data = b"II*\0" + struct.pack("<IH", 8, len(fields))
    data += b"".join(struct.pack("<HHII", *field) for field in fields)
    return (data + struct.pack("<I", following)).ljust(size, b"\x55")


def tiff_fields(**replaced: int) -> list[tuple[int, int, int, int]]:
    """16x16 grey pixels at byte 1024."""
    values = {
        "256": 16,
        "257": 16,
        "258": 8,
        "259": 1,
        "262": 1,
        "273": 1024,
        "277": 1,
        "278": 16,
        "279": 256,
    }
    values.update({name.lstrip("t"): value for name, value in replaced.items()})
    return [(int(tag), 4, 1, value) for tag, value in sorted(values.items(), key=lambda kv: int(kv[0]))]


def jpeg_with(segment: bytes) -> bytes:
    plain = pillow_file("JPEG")
    return plain[:2] + segment + plain[2:]


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def jpeg_sized(width: int, height: int) -> bytes:
    plain = bytearray(pillow_file("JPEG"))
    at = plain.index(b"\xff\xc0")
    plain[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(plain)


def icc_segments(profile: bytes) -> bytes:
    parts = [profile[at : at + 65000] for at in range(0, len(profile), 65000)]
    numbered = enumerate(parts, 1)
    return b"".join(segment(0xE2, b"ICC_PROFILE\0" + bytes([n, len(parts)]) + part) for n, part in numbered)


def corpus() -> dict[str, tuple[bytes, Expected]]:
    return {**_not_images(), **_pngs(), **_jpegs(), **_tiffs(), **_others()}


#: What a HEIC without a picture gets depends on whether its plugin is there.
_HEIC = DecodeError if importlib.util.find_spec("pillow_heif") else UnsupportedFormat


def _not_images() -> dict[str, tuple[bytes, Expected]]:
    return {
        "zero_bytes.png": (b"", DecodeError),
        "page.png": (b"<!DOCTYPE html><html><body>404</body></html>", UnsupportedFormat),
        "drawing.svg": (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', UnsupportedFormat),
        "document.jpg": (b"%PDF-1.7\n%\xe2\xe3", UnsupportedFormat),
        "archive.png": (b"PK\x03\x04" + b"\0" * 60, UnsupportedFormat),
        "notes.png": (b"just some text\n" * 9, UnsupportedFormat),
        "video.avif": (b"\0\0\0\x20ftypisom\0\0\0\0isommp42" + b"\0" * 40, UnsupportedFormat),
        "zeros.png": (b"\0" * 5000, UnsupportedFormat),
        "noise.png": (np.random.default_rng(0).bytes(5000), UnsupportedFormat),
        "photoshop.png": (b"8BPS\0\1" + b"\0" * 60, UnsupportedFormat),
        "phone.heic": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 40, _HEIC),
    }


def _pngs() -> dict[str, tuple[bytes, Expected]]:
    pixels = sources.picture(3, 8)
    plain = png_file(pixels, 2)
    wrong_crc = bytearray(plain)
    wrong_crc[60] ^= 0xFF
    bomb = zeros_packed(200)
    text_bomb = chunk(b"zTXt", b"Comment\0\0" + bomb)
    xmp_bomb = chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + bomb)
    profile_bomb = chunk(b"iCCP", b"bomb\0\0" + bomb)
    return {
        "wrong_name.jpg": (plain, GOOD),
        "signature_only.png": (plain[:8], DecodeError),
        "truncated_header.png": (plain[:20], DecodeError),
        "truncated.png": (plain[: len(plain) // 2], DecodeError),
        "no_end.png": (plain[:-12], DecodeError),
        "wrong_crc.png": (bytes(wrong_crc), DecodeError),
        "idat_bomb.png": (png_file(pixels, 2, idat=bomb), DecodeError),
        "idat_garbage.png": (png_file(pixels, 2, idat=b"garbage" * 9), DecodeError),
        "idat_short.png": (png_file(pixels, 2, idat=zlib.compress(b"\0" * 100)), DecodeError),
        "ztxt_bomb.png": (png_file(pixels, 2, middle=text_bomb), GOOD),
        "xmp_bomb.png": (png_file(pixels, 2, middle=xmp_bomb), GOOD),
        "iccp_bomb.png": (png_file(pixels, 2, middle=profile_bomb), GOOD),
        "header_bomb.png": (png_header(60000, 60000), LimitExceeded),
        "strip.png": (png_header(60000, 1), LimitExceeded),
        "no_width.png": (png_header(0, 10), DecodeError),
        "huge_chunk.png": (plain[:33] + b"\xff\xff\xff\xffIDAT", DecodeError),
        "zip_behind.png": (plain + b"PK\x03\x04" + b"\0" * 100, GOOD),
        "palette_missing.png": (png_file(np.zeros((4, 4, 1), np.uint8), 3), DecodeError),
    }


def _jpegs() -> dict[str, tuple[bytes, Expected]]:
    plain = pillow_file("JPEG")
    profile = sources.srgb()
    large = struct.pack(">I", 10_000_000) + profile[4:].ljust(10_000_000 - 4, b"\0")
    bad_offset = b"Exif\0\0II*\0" + struct.pack("<I", 0xFFFFFF00) + b"\0" * 65000
    looping = b"Exif\0\0II*\0" + struct.pack("<IHHHIII", 8, 1, 0x8769, 4, 1, 8, 8)
    return {
        "truncated.jpg": (plain[: len(plain) * 3 // 4], DecodeError),
        "marker_only.jpg": (plain[:4], DecodeError),
        "wide.jpg": (jpeg_sized(65535, 65535), LimitExceeded),
        "wider_than_data.jpg": (jpeg_sized(900, 900), DecodeError),
        "no_height.jpg": (jpeg_sized(20, 0), DecodeError),
        "icc_10_mb.jpg": (jpeg_with(icc_segments(large)), GOOD),
        "icc_part_missing.jpg": (jpeg_with(segment(0xE2, b"ICC_PROFILE\0\2\3" + profile)), GOOD),
        "exif_64_kb_bad_offset.jpg": (jpeg_with(segment(0xE1, bad_offset)), GOOD),
        "exif_looping.jpg": (jpeg_with(segment(0xE1, looping)), GOOD),
        "segment_past_end.jpg": (plain[:2] + b"\xff\xe1\xff\xff" + plain[2:200], DecodeError),
        "two_frames.jpg": (jpeg_with(plain[plain.index(b"\xff\xc0") :][:19]), DecodeError),
    }


def _tiffs() -> dict[str, tuple[bytes, Expected]]:
    overlapping = [(tag, 7, 4000, 8) for tag in range(60000, 60300)]
    return {
        "good.tif": (tiff_file(tiff_fields()), GOOD),
        "looping.tif": (tiff_file(tiff_fields(), following=8), GOOD),
        "directory_outside.tif": (b"II*\0\xff\xff\xff\x7f" + b"\0" * 100, DecodeError),
        "directory_cut_off.tif": (b"II*\0\x08\0\0\0\xff\xff" + b"\0" * 100, DecodeError),
        "strips_outside.tif": (tiff_file(tiff_fields(t273=10_000_000)), DecodeError),
        "huge.tif": (tiff_file(tiff_fields(t256=60000, t257=60000)), LimitExceeded),
        "many_samples.tif": (tiff_file(tiff_fields(t277=60000, t258=16)), UnsupportedFormat),
        "overlapping_values.tif": (tiff_file(tiff_fields() + overlapping), DecodeError),
        "packed_garbage.tif": (tiff_file(tiff_fields(t259=8)), DecodeError),
        "deep_garbage.tif": (tiff_file(tiff_fields(t259=8, t258=16)), DecodeError),
        "exif_pointer_loop.tif": (tiff_file([*tiff_fields(), (34665, 4, 1, 8)]), GOOD),
        "float.tif": (tiff_file([*tiff_fields(t258=32), (339, 3, 1, 3)]), UnsupportedFormat),
        "empty_strip.tif": (tiff_file(tiff_fields(t279=0)), DecodeError),
        "strip_bomb.tif": (_strip_bomb(), DecodeError),
        "tile_bomb.tif": (_tile_bomb(), DecodeError),
        "late_loop.tif": (_late_loop(), GOOD),
        "page_outside.tif": (tiff_file(tiff_fields(), following=0x7FFFFFFF), GOOD),
    }


def _strip_bomb() -> bytes:
    """16x16 px whose only strip is a WebP that says 16383x16383 px."""
    vp8l = b"/" + struct.pack("<I", 16382 | 16382 << 14) + b"\0" * 20
    webp = b"RIFF" + struct.pack("<I", 12 + len(vp8l) + 1) + b"WEBPVP8L" + struct.pack("<I", len(vp8l)) + vp8l
    fields = tiff_fields(t259=50001, t262=2, t277=3, t279=len(webp) + 1)
    return tiff_file(fields)[:1024] + webp + b"\0"


def _tile_bomb() -> bytes:
    """16x16 px in one tile of 60000x60000 px."""
    tile = [(322, 4, 1, 60000), (323, 4, 1, 60000), (324, 4, 1, 1024), (325, 4, 1, 256)]
    strips = (273, 278, 279)
    return tiff_file([field for field in tiff_fields(t259=8) if field[0] not in strips] + tile)


def _late_loop() -> bytes:
    """150 pages, the last of which leads back to the 120th: tifffile notices only loops to the first 100."""
    data = tiff_file(tiff_fields(), following=4096)
    empty = [4096 + 6 * index for index in range(150)]
    return data + b"".join(struct.pack("<HI", 0, at) for at in [*empty[1:], empty[120]])


def _others() -> dict[str, tuple[bytes, Expected]]:
    webp, lossy = pillow_file("WEBP", lossless=True), pillow_file("WEBP", quality=80)
    alpha = lossy.index(b"ALPH")
    cut_alpha = lossy[: alpha + 12]
    resized = cut_alpha[:4] + struct.pack("<I", len(cut_alpha) - 8) + cut_alpha[8:]
    avif = pillow_file("AVIF")
    gif = pillow_file("GIF")
    bmp = pillow_file("BMP")
    return {
        "truncated.webp": (webp[: len(webp) // 2], DecodeError),
        "riff_only.webp": (b"RIFF\x04\0\0\0WEBP", DecodeError),
        "alph_cut_off.webp": (cut_alpha, DecodeError),
        "alph_cut_off_size_fits.webp": (resized, DecodeError),
        "canvas.webp": (webp[:12] + b"VP8X\x0a\0\0\0\x10\0\0\0" + b"\xff" * 6 + webp[12:], DecodeError),
        "truncated.avif": (avif[: len(avif) - 20], DecodeError),
        "header_only.avif": (avif[:40], DecodeError),
        "huge.avif": (
            avif.replace(struct.pack(">II", 23, 17), struct.pack(">II", 60000, 60000)),
            LimitExceeded,
        ),
        "no_frames.gif": (b"GIF89a\x10\0\x10\0\0\0\0;", DecodeError),
        "truncated.gif": (gif[: len(gif) // 2], DecodeError),
        "frame_outside.gif": (b"GIF89a\1\0\1\0\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\2\1\0\0;", LimitExceeded),
        "truncated.bmp": (bmp[: len(bmp) // 2], DecodeError),
        "huge.bmp": (bmp[:18] + struct.pack("<ii", 60000, 60000) + bmp[26:], LimitExceeded),
        "negative.bmp": (bmp[:18] + struct.pack("<ii", -5, 5) + bmp[26:], DecodeError),
    }
