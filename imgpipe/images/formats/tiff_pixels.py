"""TIFF pixels, decoded by tifffile and imagecodecs within bounds that are checked first.

tifffile takes strips that are missing for empty ones, and its codecs allocate what a strip says. So the
layout, the strips' places and the sizes that embedded pictures state are compared with the header, whose size
is within the limits.
"""

from __future__ import annotations

import io
import logging
import math
import struct
import zlib
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Jpeg2KImagePlugin

from imgpipe.errors import UnsupportedFormat
from imgpipe.images.container import Header, damaged, full_range
from imgpipe.images.formats import jpeg, jxl, png, tiff, webp

# What it logs is either harmless or in the exceptions raised here.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)

#: Photometric interpretation -> number of stored samples that are colour: grey (0: white is zero), RGB,
#: palette, CMYK, YCbCr.
_COLOUR_SAMPLES = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3}
_WHITE_IS_ZERO, _PALETTE, _CMYK, _YCBCR = 0, 3, 5, 6
#: None, LZW, Deflate (two numbers), PackBits.
_CLASSIC = {1, 5, 8, 32946, 32773}
#: CCITT (three kinds), LZMA, ZSTD (two numbers).
_PACKINGS = _CLASSIC | {2, 3, 4, 34925, 34926, 50000}
_JPEGS, _JPEGS_2000, _WEBPS, _LERC, _PNG = {7, 33007}, {33004, 33005, 34712}, {34927, 50001}, 34887, 34933
_JPEGS_XL = {50002, 52546}
#: Each strip or tile is a picture of its own, which says how large it is.
_EMBEDDED = {*_JPEGS, *_JPEGS_2000, *_WEBPS, _LERC, _PNG, *_JPEGS_XL}
#: CMYK, alpha and one more.
_MAX_SAMPLES = 6
_COLOUR_MAP, _SAMPLE_FORMAT, _SUBSAMPLING, _LERC_PARAMETERS = 320, 339, 530, 50674
#: What an extra sample is (TIFF 6.0, section 18).
_UNSPECIFIED, _PREMULTIPLIED, _STRAIGHT = 0, 1, 2
#: Tiles may be larger than a small picture.
_SPARE_TILE_PX = 1 << 22

Samples = npt.NDArray[Any]


def read_pixels(data: bytes, header: Header, name: str) -> tuple[Samples, bool, tuple[str, ...]]:
    """((height, width, 1..5) uint8 or uint16 samples, whether they are CMYK, notes) of the first page.

    Grey is 0 = black, alpha straight and last; palettes become RGB, 1 to 7 bits are spread over 0..255, 9 to
    15 bits over 0..65535. ``data`` has passed :func:`imgpipe.images.formats.tiff.read`: ``header`` is its.

    Raises :class:`UnsupportedFormat` for other layouts than unsigned grey, RGB, CMYK, YCbCr and palettes,
    :class:`DecodeError` and the decoders' own exceptions for damaged data.
    """
    data = tiff.with_short_fields(data, name)
    with tifffile.TiffFile(io.BytesIO(data), is_lsm=False, is_ndpi=False, is_scanimage=False) as opened:
        page = opened.pages.first
        _check_layout(page, header, name)
        _check_segments(data, page, name)
        if page.photometric == _YCBCR and page.compression in _CLASSIC:
            _check_ycbcr(data, page, name)
            return imagecodecs.tiff_decode(data, asrgb=True)[..., :3], False, ()
        try:
            stored = page.asarray(maxworkers=1)
        except NotImplementedError as exc:
            raise _unsupported(page, name, f" ({exc})") from exc
        except imagecodecs.DeflateError as exc:
            if "INSUFFICIENT_SPACE" not in str(exc) or opened.is_bigtiff:
                raise
            samples, is_cmyk, notes = read_pixels(_without_surplus(data, page, name), header, name)
            return samples, is_cmyk, (*notes, "surplus bytes in the TIFF's strips left out")
    if page.planarconfig == 2 and page.samplesperpixel > 1:
        stored = np.moveaxis(stored, 0, -1)
    return _with_alpha(_in_full_range(stored.reshape(header.height, header.width, -1), page), page)


def _in_full_range(samples: Samples, page: tifffile.TiffPage) -> Samples:
    """Palettes as RGB, grey with 0 for black, every sample over the whole of 8 or 16 bits."""
    depth = page.bitspersample
    samples = samples.view(np.uint8) if samples.dtype == bool else samples
    spread = samples if depth in (8, 16) else full_range(samples, depth)
    if page.photometric == _PALETTE:
        colours = _colour_map(page)[samples[..., 0]]
        return np.concatenate([colours, spread[..., 1:]], axis=2) if samples.shape[2] > 1 else colours
    if page.photometric == _WHITE_IS_ZERO:
        spread = spread.copy()
        spread[..., :1] = np.iinfo(spread.dtype).max - spread[..., :1]
    return spread


def _check_layout(page: tifffile.TiffPage, header: Header, name: str) -> None:
    bits, samples, photometric = page.bitspersample, page.samplesperpixel, page.photometric
    colours = _COLOUR_SAMPLES.get(photometric, _MAX_SAMPLES + 1)
    formats = page.tags.valueof(_SAMPLE_FORMAT, 1)
    supported = (
        isinstance(bits, int)
        and 1 <= bits <= (8 if photometric in (_PALETTE, _YCBCR) else 16)
        and colours <= samples <= (colours if photometric == _YCBCR else _MAX_SAMPLES)
        and set(formats if isinstance(formats, tuple) else (formats,)) == {1}
        and page.compression in (_CLASSIC | _JPEGS if photometric == _YCBCR else _PACKINGS | _EMBEDDED)
        and page.predictor in (1, 2)
        and page.planarconfig in (1, 2)
        and page.imagedepth == 1
    )
    if not supported:
        raise _unsupported(page, name)
    if (page.imagewidth, page.imagelength) != (header.width, header.height):
        raise damaged(name, f"the TIFF says {header.width}x{header.height} px and holds {page.shape}")


def _check_ycbcr(data: bytes, page: tifffile.TiffPage, name: str) -> None:
    """Every strip or tile unpacks to all of its pixels: libtiff shows what is left of damaged ones."""
    across, down = page.tags.valueof(_SUBSAMPLING, (2, 2))
    for index, (at, size) in enumerate(zip(page.dataoffsets, page.databytecounts, strict=True)):
        rows, width = _segment_size(page, index)
        needed = -(-width // across) * -(-rows // down) * (across * down + 2)
        needed = width * rows if page.planarconfig == 2 else needed
        strip = data[at : at + size]
        if page.compression != 1:
            strip = tifffile.TIFF.DECOMPRESSORS[page.compression](strip, out=needed + 65_536)
        if len(strip) < needed:
            raise damaged(name, f"strip {index + 1} of the TIFF has {len(strip)} bytes of {needed}")


def _without_surplus(data: bytes, page: tifffile.TiffPage, name: str) -> bytes:
    """The same file with each deflated strip or tile cut to its size: some writers pack more."""
    samples = page.samplesperpixel if page.planarconfig == 1 else 1
    strips = []
    for index, (at, size) in enumerate(zip(page.dataoffsets, page.databytecounts, strict=True)):
        rows, width = _segment_size(page, index)
        most = (width * samples * page.bitspersample + 7) // 8 * rows
        strips.append(zlib.compress(zlib.decompressobj().decompress(data[at : at + size], most), 0))
    return tiff.with_strips(data, name, strips)


def _segment_size(page: tifffile.TiffPage, index: int) -> tuple[int, int]:
    """(rows, columns) of a tile or strip; the last strip of a plane is shorter."""
    if page.is_tiled:
        return page.tilelength, page.tilewidth
    per_plane = -(-page.imagelength // page.rowsperstrip)
    above = index % per_plane * page.rowsperstrip
    return min(page.rowsperstrip, page.imagelength - above), page.imagewidth


def _unsupported(page: tifffile.TiffPage, name: str, why: str = "") -> UnsupportedFormat:
    compression = getattr(page.compression, "name", page.compression)
    return UnsupportedFormat(
        f"{name}: expected a TIFF of grey, RGB, CMYK, YCbCr or a palette with unsigned samples of up to "
        f"16 bits, got {page.samplesperpixel} samples of {page.bitspersample} bits, photometric "
        f"{page.photometric:d}, sample format {page.sampleformat}, compression {compression}, predictor "
        f"{page.predictor:d}, depth {page.imagedepth}{why}; convert it"
    )


def _check_segments(data: bytes, page: tifffile.TiffPage, name: str) -> None:
    """All strips or tiles lie within the file, and none claims to be much larger than the picture."""
    sizes, count = page.databytecounts, math.prod(page.chunked)
    if count == 1 and page.compression == 1:  # some writers state far more than there is
        row_bytes = (page.imagewidth * page.samplesperpixel * page.bitspersample + 7) // 8
        sizes = tuple(min(size, row_bytes * page.imagelength) for size in sizes)
    places = list(zip(page.dataoffsets, sizes, strict=True))
    if len(places) != count or not all(at and size and at + size <= len(data) for at, size in places):
        raise damaged(name, f"the TIFF's {count} strips or tiles do not all lie within the file")
    segment_px = page.tilewidth * page.tilelength if page.is_tiled else page.imagewidth * page.rowsperstrip
    planes = page.samplesperpixel if page.planarconfig == 2 else 1
    if segment_px * count > planes * (4 * page.imagewidth * page.imagelength + _SPARE_TILE_PX):
        raise damaged(name, f"the TIFF's {count} tiles of {segment_px} px are too large for its picture")
    if page.compression in _EMBEDDED:
        for at, size in places:
            width, height = _embedded_size(data[at : at + size], page, segment_px, name)
            if width * height > segment_px:
                raise damaged(name, f"a TIFF strip of {segment_px} px holds a picture of {width}x{height} px")


def _embedded_size(data: bytes, page: tifffile.TiffPage, segment_px: int, name: str) -> tuple[int, int]:
    """(width, height) px that a strip says of itself."""
    compression = page.compression
    if compression in _JPEGS_2000:
        return Jpeg2KImagePlugin.Jpeg2KImageFile(io.BytesIO(data)).size
    if compression == _LERC:
        packing = page.tags.valueof(_LERC_PARAMETERS, (0, 0))[1]
        return _lerc_size(data, packing, _MAX_SAMPLES * 2 * segment_px + 65_536, name)
    reader = jpeg if compression in _JPEGS else webp if compression in _WEBPS else jxl
    header, _ = (png if compression == _PNG else reader).read(data, name)
    return header.width, header.height


def _lerc_size(data: bytes, packing: int, most_bytes: int, name: str) -> tuple[int, int]:
    """(width, height) px from the header of a LERC 2 blob (Esri's Limited Error Raster Compression).

    ``packing``: 0 none, 1 Deflate, 2 ZSTD around the blob, which unpacks to at most ``most_bytes``.
    """
    if packing:
        unpack = {1: imagecodecs.deflate_decode, 2: imagecodecs.zstd_decode}[packing]
        data = bytes(unpack(data, out=most_bytes))
    if data[:6] != b"Lerc2 ":
        raise damaged(name, "a TIFF strip is no LERC 2 blob")
    at = 14 if int.from_bytes(data[6:10], "little") >= 3 else 10  # since version 3 behind a checksum
    height, width = struct.unpack_from("<ii", data, at)
    return max(width, 0), max(height, 0)


def _colour_map(page: tifffile.TiffPage) -> npt.NDArray[np.uint8]:
    """(2^bits, 3) colours. Values of 16 bits, as TIFF 6.0 has them; where none is above 255, of 8 bits."""
    stored: npt.NDArray[np.uint16] = page.tags[_COLOUR_MAP].value
    colours = stored.reshape(3, 1 << page.bitspersample).T
    return (colours if colours.max() < 256 else colours >> 8).astype(np.uint8)


def _with_alpha(samples: Samples, page: tifffile.TiffPage) -> tuple[Samples, bool, tuple[str, ...]]:
    """Colour and its alpha made straight; further samples are left out and named.

    Alpha is the first sample that the file declares as such. A sample of no stated kind is alpha too, as for
    libvips, libtiff and OpenCV, unless it is 0 everywhere: then nothing of the picture would be left.
    """
    extra = page.samplesperpixel - _COLOUR_SAMPLES[page.photometric]
    colours = samples.shape[2] - extra
    kinds = (*page.extrasamples, *[_UNSPECIFIED] * extra)[:extra]
    declared = [index for index, kind in enumerate(kinds) if kind in (_PREMULTIPLIED, _STRAIGHT)]
    unspecified = [index for index, kind in enumerate(kinds) if kind == _UNSPECIFIED]
    chosen = (declared or unspecified)[:1]
    notes = []
    if chosen and not declared:
        if samples[..., colours + chosen[0]].any():
            notes.append("a TIFF sample of no stated kind read as alpha")
        else:
            chosen = []
    if left_out := extra - len(chosen):
        notes.append(f"{left_out} TIFF samples that are neither colour nor alpha left out")
    kept = [*range(colours), *(colours + index for index in chosen)]
    samples = np.ascontiguousarray(samples if len(kept) == samples.shape[2] else samples[..., kept])
    if chosen and kinds[chosen[0]] == _PREMULTIPLIED:
        samples = samples if samples.flags.writeable else samples.copy()
        _unpremultiply(samples)
    return samples, page.photometric == _CMYK, tuple(notes)


def _unpremultiply(samples: Samples) -> None:
    """In place, rounded to nearest; colour under alpha 0 becomes 0."""
    top = int(np.iinfo(samples.dtype).max)
    alpha = samples[..., -1:].astype(np.uint64)
    colour = (samples[..., :-1].astype(np.uint64) * top + alpha // 2) // np.maximum(alpha, 1)
    samples[..., :-1] = np.where(alpha == 0, 0, np.minimum(colour, top))
