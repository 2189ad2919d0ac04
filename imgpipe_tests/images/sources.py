"""Image files for the tests, written by other means than the code under test: by hand, Pillow, tifffile."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import PIL.Image
import tifffile
from PIL import ImageCms

Array = npt.NDArray[Any]
WIDTH, HEIGHT = 23, 17
CHANNELS = {"grey": 1, "LA": 2, "palette+tRNS": 4, "RGB": 3, "RGBA": 4, "CMYK": 4}
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf tiff:Orientation="%d"/></x:xmpmeta>'


def picture(channels: int, depth: int, seed: int = 7) -> Array:
    """(HEIGHT, WIDTH, channels): smooth, so that lossy formats can be compared; no symmetry."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH] / 24.0
    planes = [0.5 + 0.45 * np.sin(2 * x + (k + 1) * y + k + seed) for k in range(channels)]
    top = (1 << depth) - 1
    return np.round(np.dstack(planes) * top).astype(np.uint8 if depth <= 8 else np.uint16)


def palette_picture() -> tuple[Array, Array, Array]:
    """(indices, 16 colours, 16 alphas)."""
    indices = (np.add.outer(np.arange(HEIGHT), 3 * np.arange(WIDTH)) % 16).astype(np.uint8)
    rng = np.random.default_rng(3)
    return indices, rng.integers(0, 256, (16, 3), np.uint8), np.arange(0, 256, 17).astype(np.uint8)


def srgb() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def _profile(space: bytes, pcs: bytes, kind: bytes, tags: dict[bytes, bytes]) -> bytes:
    """An ICC profile, version 2.4, from its tags."""
    table, body = struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        table += name + struct.pack(">II", 132 + 12 * len(tags) + len(body), len(data))
        body += data + b"\0" * (-len(data) % 4)
    size = 132 + 12 * len(tags) + len(body)
    illuminant = struct.pack(">iii", 63190, 65536, 54061)  # D50
    head = struct.pack(">I4sI4s4s4s", size, b"lcms", 0x02400000, kind, space, pcs)
    head += struct.pack(">6H", 2020, 1, 1, 0, 0, 0) + b"acsp" + b"\0" * 28 + illuminant
    return head.ljust(128, b"\0") + table + body


def _text(text: bytes) -> bytes:
    return b"desc\0\0\0\0" + struct.pack(">I", len(text) + 1) + text + b"\0" * 79


def _xyz(*values: float) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *[round(v * 65536) for v in values])


def _gamma(value: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(value * 256)) + b"\0\0"


def display_p3() -> bytes:
    """P3 primaries adapted to D50 (as published by Apple), gamma 2.2."""
    tags = {b"desc": _text(b"Display P3 (test)"), b"wtpt": _xyz(0.9642, 1, 0.8249)}
    tags |= {b"rXYZ": _xyz(0.51512, 0.2412, -0.00105), b"gXYZ": _xyz(0.29198, 0.69225, 0.04189)}
    tags |= {b"bXYZ": _xyz(0.1571, 0.06657, 0.78407)}
    tags |= {b"rTRC": _gamma(2.2), b"gTRC": _gamma(2.2), b"bTRC": _gamma(2.2)}
    return _profile(b"RGB ", b"XYZ ", b"mntr", tags)


def grey_icc(gamma: float = 1.0) -> bytes:
    tags = {b"desc": _text(b"grey (test)"), b"wtpt": _xyz(0.9642, 1, 0.8249), b"kTRC": _gamma(gamma)}
    return _profile(b"GRAY", b"XYZ ", b"mntr", tags)


#: L*a*b* (D50) of paper, cyan, magenta, yellow in the profile below; overprints: their mean, black: 0.
INKS = {(0, 0, 0): (100, 0, 0), (1, 0, 0): (60, -30, -40), (0, 1, 0): (50, 60, 0), (0, 0, 1): (90, -5, 80)}


def cmyk_icc() -> bytes:
    """A lookup-table profile (lut8, two grid points per ink)."""
    straight = bytes(range(256))
    grid = b""
    for index in range(16):
        c, m, y, k = (index >> shift & 1 for shift in (3, 2, 1, 0))
        solid = [
            lab for ink, lab in INKS.items() if any(a and b for a, b in zip(ink, (c, m, y), strict=True))
        ]
        lab = np.mean(solid or [INKS[0, 0, 0]], axis=0) * (0 if k else 1)
        grid += bytes([round(lab[0] * 2.55), round(lab[1] + 128), round(lab[2] + 128)])
    lut = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0])
    lut += struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536) + straight * 4 + grid + straight * 3
    tags = {b"desc": _text(b"CMYK (test)"), b"wtpt": _xyz(0.9642, 1, 0.8249), b"A2B0": lut}
    return _profile(b"CMYK", b"Lab ", b"prtr", tags)


def exif(orientation: int) -> bytes:
    block = PIL.Image.Exif()
    block[0x010F] = "Maker of the test"
    block[0x0112] = orientation
    block.get_ifd(0x8769)[0x9003] = "2020:02:03 04:05:06"
    block.get_ifd(0x8769)[0x927C] = bytes(range(64))
    return block.tobytes().removeprefix(b"Exif\0\0")


def exif_fields(block: bytes | None) -> dict[int, Any]:
    """Every field but the orientation, sub-directory included."""
    parsed = PIL.Image.Exif()
    parsed.load(block or b"")
    fields = {**dict(parsed), **dict(parsed.get_ifd(0x8769))}
    return {tag: value for tag, value in fields.items() if tag not in (0x0112, 0x8769)}


def orientation_of(block: bytes | None) -> int:
    parsed = PIL.Image.Exif()
    parsed.load(block or b"")
    return int(parsed.get(0x0112, 1))


def turned(pixels: Array, orientation: int) -> Array:
    """What a viewer shows, by Pillow's transpositions."""
    method = {
        2: PIL.Image.Transpose.FLIP_LEFT_RIGHT,
        3: PIL.Image.Transpose.ROTATE_180,
        4: PIL.Image.Transpose.FLIP_TOP_BOTTOM,
        5: PIL.Image.Transpose.TRANSPOSE,
        6: PIL.Image.Transpose.ROTATE_270,
        7: PIL.Image.Transpose.TRANSVERSE,
        8: PIL.Image.Transpose.ROTATE_90,
    }.get(orientation)
    if method is None:
        return pixels
    planes = [PIL.Image.fromarray(pixels[..., k].astype(np.int32)) for k in range(pixels.shape[2])]
    return np.dstack([np.asarray(p.transpose(method)) for p in planes]).astype(pixels.dtype)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_file(pixels: Array, colour: int, *, middle: bytes = b"", idat: bytes | None = None) -> bytes:
    """A PNG of unfiltered rows; ``middle`` stands between IHDR and IDAT."""
    depth = pixels.dtype.itemsize * 8
    head = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], depth, colour, 0, 0, 0)
    rows = pixels.astype(pixels.dtype.newbyteorder(">"))
    packed = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows)) if idat is None else idat
    body = chunk(b"IHDR", head) + middle + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def make_png(mode: str, depth: int, icc: bytes | None, orientation: int) -> tuple[bytes, Array]:
    meta = chunk(b"eXIf", exif(orientation))
    meta += chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP % orientation)
    if icc:
        meta += chunk(b"iCCP", b"test\0\0" + zlib.compress(icc))
    if mode == "palette+tRNS":
        indices, colours, alphas = palette_picture()
        meta += chunk(b"PLTE", colours.tobytes()) + chunk(b"tRNS", alphas.tobytes())
        expected = np.concatenate([colours[indices], alphas[indices][..., None]], axis=2)
        return png_file(indices[..., None], 3, middle=meta), expected
    pixels = picture(CHANNELS[mode], depth)
    return png_file(pixels, {"grey": 0, "LA": 4, "RGB": 2, "RGBA": 6}[mode], middle=meta), pixels


def make_tiff(mode: str, depth: int, icc: bytes | None, orientation: int) -> tuple[bytes, Array]:
    pixels = picture(CHANNELS[mode], depth)
    xmp = XMP % orientation
    tags = [
        (274, 3, 1, orientation, True),
        (271, 2, 18, "Maker of the test", True),
        (700, 1, len(xmp), xmp, True),
    ]
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer,
        pixels[..., 0] if mode == "grey" else pixels,
        photometric={"grey": "minisblack", "LA": "minisblack", "CMYK": "separated"}.get(mode, "rgb"),
        planarconfig=None if mode == "grey" else "contig",
        extrasamples=["unassalpha"] if mode in ("LA", "RGBA") else None,
        compression="zlib",
        predictor=mode != "CMYK",
        iccprofile=icc,
        extratags=tags,
        metadata=None,
        software=False,
    )
    return buffer.getvalue(), pixels


def make_pillow(
    fmt: str, mode: str, icc: bytes | None, orientation: int, **options: Any
) -> tuple[bytes, Array]:
    pixels = picture(CHANNELS[mode], 8)
    opened = PIL.Image.fromarray(
        pixels[..., 0] if mode == "grey" else pixels, "CMYK" if mode == "CMYK" else None
    )
    buffer = io.BytesIO()
    block = b"Exif\0\0" + exif(orientation)
    xmp = XMP % orientation
    opened.save(buffer, fmt, icc_profile=icc, exif=block, xmp=xmp, **options)
    return buffer.getvalue(), pixels


def make_deep_avif(mode: str, depth: int, icc: bytes | None) -> tuple[bytes, Array]:
    """10 or 12 bits; pixels as stored, 0 .. 2^depth - 1."""
    pixels = picture(CHANNELS[mode], depth)
    order = [0] if mode == "grey" else [2, 1, 0, 3][: CHANNELS[mode]]
    parameters = [cv2.IMWRITE_AVIF_DEPTH, depth, cv2.IMWRITE_AVIF_QUALITY, 100]
    blocks = [np.frombuffer(icc, np.uint8)[None]] if icc else []
    done, encoded = cv2.imencodeWithMetadata(
        ".avif",
        np.ascontiguousarray(pixels[..., order]),
        [cv2.IMAGE_METADATA_ICCP] * len(blocks),
        blocks,
        parameters,
    )
    assert done
    return encoded.tobytes(), pixels
