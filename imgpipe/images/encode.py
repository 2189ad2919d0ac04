""":class:`~imgpipe.images.image.Image` to bytes, with its profile and metadata; what a format cannot hold is
refused, never dropped. The same image and library versions give the same bytes."""

from __future__ import annotations

import io
from dataclasses import replace

import cv2
import numpy as np
import PIL.Image

from imgpipe.errors import EncodeError
from imgpipe.images.colour import to_8_bit, to_srgb
from imgpipe.images.file_formats import EXTENSIONS
from imgpipe.images.formats import jpeg, plugin, png
from imgpipe.images.formats.png_write import Effort, write_png
from imgpipe.images.formats.tiff_write import write_tiff
from imgpipe.images.image import Image, Pixels
from imgpipe.images.metadata import (
    exif_of_dpi,
    icc_space,
    with_exif_size,
    without_exif_thumbnail,
    without_xmp_thumbnails,
)
from imgpipe.images.srgb import srgb_profile

__all__ = ["MAX_SIDES", "Effort", "encode", "encode_fitting", "encode_or_png", "without_hidden_colours"]

_ZLIB_LEVELS: dict[Effort, int] = {"stored": 0, "loose": 1, "fast": 1, "balanced": 6, "small": 9}
#: libjxl's effort 1..9.
_JXL_EFFORTS: dict[Effort, int] = {"fast": 1, "balanced": 5, "small": 7}
#: libwebp's (method, lossless effort).
_WEBP_EFFORTS: dict[Effort, tuple[int, int]] = {"fast": (0, 0), "balanced": (4, 60), "small": (6, 100)}
#: libwebp's method where it is lossy; more than 4 costs twice the time for 1% of the bytes.
_WEBP_LOSSY_METHOD = 4
#: libwebp's and libjpeg's largest sides in px.
MAX_SIDES = {"WEBP": 16383, "JPEG": 65500}
JPEG_SEGMENT_BYTES = 65500
#: Rows whose transparent pixels are looked at at once.
_ZEROED_ROWS = 64


def encode(
    image: Image,
    *,
    format: str = "PNG",  # noqa: A002 -- the name that Pillow's users know
    effort: Effort = "fast",
    quality: int | None = None,
    zero_transparent: bool = True,
) -> bytes:
    """The encoded file.

    ``format``: ``PNG`` and ``TIFF`` hold everything losslessly (8 and 16 bits, grey to RGBA). ``WEBP`` has
    only 8-bit RGB(A), so grey comes back as RGB; it is lossless without a ``quality``, and with one of
    90..100 lossy, for opaque pictures: its chroma then has half the resolution (4:2:0), so thin saturated
    lines lose colour, not brightness. ``JPEG`` is 4:4:4 at ``quality`` 90..100 (95), 8-bit grey or RGB.
    ``JXL`` (where its plugin is installed) is lossless, 8-bit, and holds no profile but sRGB. ``effort``
    trades time for bytes where the format is lossless, never pixels (``loose`` and ``stored`` are for PNG).
    The EXIF block's own pixel dimensions are set to the picture's; the small pictures in EXIF and XMP, which
    show the source, are left out. ``image.dpi`` is written as JPEG's, PNG's and TIFF's own field, elsewhere
    as EXIF where there is none. ``zero_transparent``: colour under alpha 0 is written as 0, which compresses
    better and hides nothing.

    Raises :class:`EncodeError` where the format cannot hold the image.
    """
    if format not in EXTENSIONS or effort not in _ZLIB_LEVELS:
        raise EncodeError(
            f"expected a format of {', '.join(EXTENSIONS)} and an effort of {', '.join(_ZLIB_LEVELS)}, "
            f"got {format!r} and {effort!r}"
        )
    if zero_transparent:
        image = without_hidden_colours(image)
    image = _described(image, format)
    try:
        return _encoded(image, format, effort, quality)
    except MemoryError as exc:
        raise EncodeError(
            f"{format}: not enough memory for {image.width}x{image.height} px; lower `workers`"
        ) from exc
    except (OSError, ValueError, OverflowError) as exc:
        raise EncodeError(
            f"{format}: the encoder refused {image.width}x{image.height} px of {image.channels} channels "
            f"({exc}); write PNG"
        ) from exc


def encode_or_png(image: Image, format: str) -> tuple[bytes, str, tuple[str, ...]]:  # noqa: A002
    """The file, its format and notes: a PNG, with the reason, where ``format`` cannot hold the whole picture.

    Colours under alpha 0 are written as they are.
    """
    try:
        return encode(image, format=format, zero_transparent=False), format, ()
    except EncodeError as exc:
        reason = str(exc).partition(";")[0]
        data = encode(image, zero_transparent=False)
        return data, "PNG", (f"written as PNG: {reason}",)


def without_hidden_colours(image: Image) -> Image:
    """The picture with colour 0 under alpha 0, as it is written."""
    return replace(image, pixels=_zeroed(image.pixels)) if image.has_alpha else image


def _described(image: Image, fmt: str) -> Image:
    """The picture with its metadata as it is written."""
    exif = with_exif_size(without_exif_thumbnail(image.exif), image.width, image.height)
    if exif is None and image.dpi is not None and fmt in ("WEBP", "JXL"):
        exif = exif_of_dpi(image.dpi)
    return replace(image, exif=exif, xmp=without_xmp_thumbnails(image.xmp))


def _encoded(image: Image, fmt: str, effort: Effort, quality: int | None) -> bytes:
    if quality is not None and not 90 <= quality <= 100:
        raise EncodeError(f"{fmt}: expected a quality of 90..100, got {quality}")
    match fmt:
        case "JPEG":
            return _encode_jpeg(image, 95 if quality is None else quality)
        case "WEBP":
            return _encode_webp(image, effort, quality)
        case "TIFF":
            return write_tiff(image, _ZLIB_LEVELS[effort])
        case "JXL":
            return _encode_jxl(image, effort)
        case _:
            described = png.describing_chunks(icc=image.icc, exif=image.exif, xmp=image.xmp, dpi=image.dpi)
            return write_png(image.pixels, effort, described)


def _encode_webp(image: Image, effort: Effort, quality: int | None) -> bytes:
    if quality is not None and image.has_alpha:
        raise EncodeError("lossy WebP: expected an image without alpha; write lossless WebP or PNG")
    _refuse_unfit(image, "WEBP", "WebP")
    if icc_space(image.icc) == "GRAY":
        raise EncodeError("WebP: expected no profile or one for RGB, got one for grey; write PNG or TIFF")
    method, packing = _WEBP_EFFORTS.get(effort, (0, 0))
    opened = _pillow_image(image).convert("RGBA" if image.has_alpha else "RGB")
    buffer = io.BytesIO()
    # exact: the encoder keeps the colour under alpha 0 as it is given.
    opened.save(
        buffer,
        "WEBP",
        lossless=quality is None,
        method=method if quality is None else _WEBP_LOSSY_METHOD,
        quality=packing if quality is None else quality,
        exact=True,
        icc_profile=image.icc or b"",
        exif=image.exif or b"",
        xmp=image.xmp or b"",
    )
    return buffer.getvalue()


def _encode_jpeg(image: Image, quality: int) -> bytes:
    if image.has_alpha:
        raise EncodeError("JPEG: expected an image without alpha; write PNG, WEBP or TIFF")
    _refuse_unfit(image, "JPEG", "JPEG")
    for block, content in (("EXIF", image.exif), ("XMP", image.xmp)):
        if content is not None and len(content) > JPEG_SEGMENT_BYTES:
            raise EncodeError(
                f"JPEG: expected at most {JPEG_SEGMENT_BYTES} bytes of {block}, got {len(content)}; "
                "write PNG, WEBP or TIFF"
            )
    # OpenCV's buffer grows; Pillow's optimised 4:4:4 fails on noisy pictures that outgrow its guess.
    options = [
        *(cv2.IMWRITE_JPEG_QUALITY, quality),
        *(cv2.IMWRITE_JPEG_OPTIMIZE, 1),
        *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
    ]
    stored = image.pixels if image.channels == 1 else cv2.cvtColor(image.pixels, cv2.COLOR_RGB2BGR)
    written, data = cv2.imencode(".jpg", stored, options)
    if not written:
        raise ValueError("OpenCV wrote nothing")
    return jpeg.splice(data.tobytes(), icc=image.icc, exif=image.exif, xmp=image.xmp, dpi=image.dpi)


def _encode_jxl(image: Image, effort: Effort) -> bytes:
    _refuse_unfit(image, "JXL", "JPEG XL")
    picture = _pillow_image(image)
    if image.icc not in (None, srgb_profile()) and image.icc != plugin.jxl_srgb_profile(picture.mode):
        raise EncodeError("JPEG XL: expected no profile or sRGB's own; write PNG, WEBP or TIFF to keep it")
    return plugin.write_jxl(picture, _JXL_EFFORTS.get(effort, 1), image.exif, image.xmp)


def _zeroed(pixels: Pixels) -> Pixels:
    """The same array where no transparent pixel has a colour; a copy only where one has."""
    for top in range(0, len(pixels), _ZEROED_ROWS):
        rows = pixels[top : top + _ZEROED_ROWS]
        if rows[rows[..., -1] == 0].any():
            break
    else:
        return pixels
    zeroed = pixels.copy()
    for top in range(0, len(zeroed), _ZEROED_ROWS):
        rows = zeroed[top : top + _ZEROED_ROWS]
        rows[rows[..., -1] == 0] = 0
    return zeroed


def _pillow_image(image: Image) -> PIL.Image.Image:
    """An ``L``, ``LA``, ``RGB`` or ``RGBA`` picture that shares no metadata with anything."""
    pixels = image.pixels
    return PIL.Image.fromarray(pixels[..., 0] if image.channels == 1 else np.ascontiguousarray(pixels))


def _refuse_unfit(image: Image, fmt: str, shown: str) -> None:
    """Refuse more than 8 bits, and sides beyond the format's largest."""
    if image.bit_depth != 8:
        raise EncodeError(f"{shown}: expected 8 bits per channel, got {image.bit_depth}; write PNG or TIFF")
    most = MAX_SIDES.get(fmt, max(image.width, image.height))
    if max(image.width, image.height) > most:
        raise EncodeError(
            f"{fmt}: expected sides of at most {most} px, got {image.width}x{image.height}; write PNG or TIFF"
        )


def encode_fitting(picture: Image, encoding: str) -> tuple[bytes, tuple[str, ...]]:
    """The file of what a format can hold of a picture, and in words what was left out or changed: 16 bits,
    alpha that hides nothing, blocks of metadata that are too long, a profile for grey."""
    notes: tuple[str, ...] = ()
    if encoding == "WEBP" and icc_space(picture.icc) == "GRAY":
        picture = replace(to_srgb(picture), icc=None)
        notes = ("shown in sRGB: WEBP holds no profile for grey; write PNG or TIFF to keep it",)
    if encoding == "JPEG":
        exif, xmp = (
            block if len(block or b"") <= JPEG_SEGMENT_BYTES else None
            for block in (picture.exif, picture.xmp)
        )
        for name, had, kept in (("EXIF", picture.exif, exif), ("XMP", picture.xmp, xmp)):
            if had and not kept:
                notes = (*notes, f"{name} of {len(had)} bytes left out: JPEG holds {JPEG_SEGMENT_BYTES}")
        picture = replace(picture, exif=exif, xmp=xmp)
    if encoding in ("JPEG", "WEBP", "JXL") and picture.bit_depth > 8:
        picture = replace(picture, pixels=to_8_bit(picture.pixels))
        reduced = f"16 bits per channel reduced to 8: {encoding} has no more; write PNG or TIFF to keep them"
        notes = (*notes, reduced)
    if encoding == "JPEG" and picture.alpha is not None and (picture.alpha == picture.max_value).all():
        picture = replace(picture, pixels=picture.colour.copy())
        notes = (*notes, "alpha left out, which was opaque throughout: JPEG has none")
    return encode(picture, format=encoding), notes
