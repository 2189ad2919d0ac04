"""Pixels of the TIFF layouts that no library here reads rightly: 16 bits, separate planes, extra samples.

Pillow cuts 16-bit colour to 8 bits and loses the alpha of separate planes; OpenCV mixes separate planes up,
reads 16-bit grey with alpha as 8 bits and refuses 16-bit CMYK. Both read plain grey. So each plane, or the
interleaved samples of each row, is declared to be a grey picture (see :mod:`imgpipe.images.tiff`), decoded by
libtiff through Pillow, and put together here.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image
from PIL import TiffImagePlugin

from imgpipe.errors import UnsupportedFormat
from imgpipe.images import tiff
from imgpipe.images.container import damaged

#: Compressions with a predictor (LZW, Deflate, LZMA, ZSTD): the others ignore the field.
_PREDICTED = {5, 8, 32946, 34925, 50000}
#: Colours of JPEG strips are converted by libtiff: not samples as they lie there.
_JPEG = {6, 7}
#: CMYK, alpha and one more.
_MAX_SAMPLES = 6
_GREY_SAMPLES, _RGB_SAMPLES, _CMYK_SAMPLES = 1, 3, 4
#: Photometric interpretation -> number of colour samples.
_COLOUR_SAMPLES = {0: _GREY_SAMPLES, 1: _GREY_SAMPLES, 2: _RGB_SAMPLES, 5: _CMYK_SAMPLES}

Samples = npt.NDArray[Any]


class TiffFile(TiffImagePlugin.TiffImageFile):
    """Pillow's reader without its fixed limit of 179 Mpx, which grey pictures made of samples soon reach.

    Our own limits are checked on the header, before any reader sees the file.
    """

    def load_prepare(self) -> None:
        if self._im is None:
            self.im = PIL.Image.new(self.mode, self._tile_size, None).im
        super().load_prepare()


def needs_samples(page: tiff.Page) -> bool:
    """Whether this module, and not Pillow, has to read the page."""
    depths, samples = set(page.numbers(tiff.BITS)), page.number(tiff.SAMPLES, 1)
    if max(depths, default=1) > 8:
        return True
    colours = _COLOUR_SAMPLES.get(page.number(tiff.PHOTOMETRIC, 1), 0)
    if depths != {8} or not colours or page.number(tiff.COMPRESSION, 1) in _JPEG:
        return False
    return samples > 4 or (samples > 1 and page.number(tiff.PLANAR, 1) == 2)


def read_samples(data: bytes, page: tiff.Page, name: str) -> tuple[Samples, bool, tuple[str, ...]]:
    """((height, width, 1..4) uint8 or uint16 samples, whether they are CMYK, notes).

    Grey is 0 = black, alpha straight. Raises :class:`UnsupportedFormat` for layouts that are neither grey,
    RGB nor CMYK of unsigned 8 or 16 bits and :class:`DecodeError` for damaged data.
    """
    samples = page.number(tiff.SAMPLES, 1)
    photometric = page.number(tiff.PHOTOMETRIC, 1)
    _check_layout(page, samples, photometric, name)
    separate = page.number(tiff.PLANAR, 1) == 2 and samples > 1
    pixels = _planes(data, page, samples, name) if separate else _interleaved(data, page, samples, name)
    if photometric == 0:
        pixels[..., :1] = np.iinfo(pixels.dtype).max - pixels[..., :1]
    return _with_alpha(pixels, page, _COLOUR_SAMPLES[photometric])


def _check_layout(page: tiff.Page, samples: int, photometric: int, name: str) -> None:
    bits = set(page.numbers(tiff.BITS)) or {1}
    formats = set(page.numbers(tiff.SAMPLE_FORMAT)) or {1}
    least = _COLOUR_SAMPLES.get(photometric, _MAX_SAMPLES + 1)
    if bits not in ({8}, {16}) or formats != {1} or not least <= samples <= _MAX_SAMPLES:
        raise UnsupportedFormat(
            f"{name}: expected a TIFF of grey, RGB or CMYK with unsigned 8 or 16 bits, got {samples} samples "
            f"of {sorted(bits)} bits, photometric {photometric}, sample format {sorted(formats)}; convert it"
        )


def _interleaved(data: bytes, page: tiff.Page, samples: int, name: str) -> Samples:
    """Samples side by side: a grey picture ``samples`` times as wide, its differences summed up here."""
    width = page.number(tiff.WIDTH, 0)
    tile = page.number(tiff.TILE_WIDTH, 0)
    wide = page.with_numbers(
        WIDTH=(width * samples,),
        TILE_WIDTH=(tile * samples,) if tile else None,
        PREDICTOR=None,
    )
    grey = _decode_grey(data, wide, name)
    pixels = grey.reshape(grey.shape[0], width, samples)
    predictor = page.number(tiff.PREDICTOR, 1) if page.number(tiff.COMPRESSION, 1) in _PREDICTED else 1
    if predictor == 2:
        for left in range(0, width, tile or width):
            part = pixels[:, left : left + (tile or width)]
            np.cumsum(part, axis=1, dtype=part.dtype, out=part)  # wraps around, as the differences do
    elif predictor != 1:
        raise UnsupportedFormat(f"{name}: expected TIFF predictor 1 or 2, got {predictor}; convert the file")
    return pixels


def _planes(data: bytes, page: tiff.Page, samples: int, name: str) -> Samples:
    """One plane per sample: as many grey pictures."""
    offsets_name, counts_name = "STRIP_OFFSETS", "STRIP_COUNTS"
    if tiff.TILE_OFFSETS in page.entries:
        offsets_name, counts_name = "TILE_OFFSETS", "TILE_COUNTS"
    offsets = page.numbers(getattr(tiff, offsets_name))
    counts = page.numbers(getattr(tiff, counts_name))
    step = len(offsets) // samples
    if not step or len(offsets) != step * samples or len(counts) != len(offsets):
        raise damaged(name, f"the TIFF has {len(offsets)} strips for {samples} planes")
    planes = []
    for at in range(0, len(offsets), step):
        fields = {offsets_name: offsets[at : at + step], counts_name: counts[at : at + step]}
        planes.append(_decode_grey(data, page.with_numbers(**fields), name))
    return np.stack(planes, axis=-1)


def _decode_grey(data: bytes, page: tiff.Page, name: str) -> Samples:
    """(height, width) of the page declared as grey with one sample of its own depth."""
    depth = max(page.numbers(tiff.BITS))
    plain = page.with_numbers(
        BITS=(depth,), SAMPLES=(1,), PHOTOMETRIC=(1,), PLANAR=None, EXTRA_SAMPLES=None, SAMPLE_FORMAT=None
    )
    with TiffFile(io.BytesIO(tiff.pixel_file(data, plain))) as opened:
        grey = np.asarray(opened)
    expected = page.number(tiff.HEIGHT, 0), page.number(tiff.WIDTH, 0)
    if grey.shape != expected or grey.dtype.itemsize * 8 != depth:
        raise damaged(
            name, f"the compressed pixels of the TIFF do not make up {expected[1]}x{expected[0]} samples"
        )
    return np.array(grey, grey.dtype.newbyteorder("="))


def _with_alpha(pixels: Samples, page: tiff.Page, colours: int) -> tuple[Samples, bool, tuple[str, ...]]:
    """Colour and its alpha made straight; further samples are left out and named."""
    extra = pixels.shape[2] - colours
    kinds = page.numbers(tiff.EXTRA_SAMPLES)
    cmyk = colours == _CMYK_SAMPLES
    # Without the field, a lone extra sample is alpha by custom; kind 0 says that it is none.
    kind = (kinds[0] if kinds else 2) if extra else 0
    notes: tuple[str, ...] = ()
    if kind not in (1, 2) or cmyk:
        if extra:
            notes = (f"{extra} TIFF samples that are not colour left out",)
        return np.ascontiguousarray(pixels[..., :colours]), cmyk, notes
    if extra > 1:
        notes = (f"{extra - 1} TIFF samples that are neither colour nor alpha left out",)
    pixels = np.ascontiguousarray(pixels[..., : colours + 1])
    if kind == 1:
        _unpremultiply(pixels)
    return pixels, cmyk, notes


def _unpremultiply(pixels: Samples) -> None:
    """In place, rounded to nearest; colour under alpha 0 becomes 0."""
    top = int(np.iinfo(pixels.dtype).max)
    alpha = pixels[..., -1:].astype(np.uint64)
    colour = (pixels[..., :-1].astype(np.uint64) * top + alpha // 2) // np.maximum(alpha, 1)
    pixels[..., :-1] = np.where(alpha == 0, 0, np.minimum(colour, top))
