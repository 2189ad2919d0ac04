"""One image's source, result and difference as small pictures, packed to fit a budget."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imgpipe.images.image import Image
from imgpipe.records import ImageRow

if TYPE_CHECKING:
    from imgpipe.report.pictures import PictureSet
    from imgpipe.report.thumbnails import Float

#: Longest sides that are tried, px, until a picture fits its budget; the first is what is kept in memory.
SIDES_PX = (128, 112, 96, 80, 64, 48)

#: The decoded picture of a row, else in words why there is none; the flag is True for files of our own.
Opener = Callable[[ImageRow, bool], "Image | str"]


@dataclass(frozen=True, slots=True)
class Heat:
    """Differences (height, width) of 0..255, by maximum, and their reference; both at the largest size."""

    reference: Image
    levels: Float


@dataclass(frozen=True, slots=True)
class SmallPictures:
    """Opaque sRGB at the largest size shown, or in words why there is nothing to see."""

    source: Image | str
    result: Image | str
    difference: Heat | str

    def markdown(self, budget: int) -> tuple[str, str, str]:
        """Three cells of a Markdown table, each picture at most ``budget`` bytes before base64."""
        return (
            _picture_cell("source", self.source, budget),
            _picture_cell("result", self.result, budget),
            _heat_cell(self.difference, budget),
        )


#: For an image that has no row yet.
NOTHING = SmallPictures("no row", "no row", "no row")


def small_pictures(pictures: PictureSet, opener: Opener) -> SmallPictures:
    """Read, compare and reduce the pictures of one image; each full one is forgotten on return."""
    from imgpipe.pixels.difference import difference, max_pool
    from imgpipe.report import thumbnails

    source = "not made" if pictures.source is None else opener(pictures.source, False)
    shown = pictures.result or pictures.matte
    result = "not made" if shown is None else opener(shown, True)
    if pictures.result is None or pictures.reference is None:
        return SmallPictures(_reduced(source), _reduced(result), "nothing to compare")
    same = pictures.reference is pictures.source
    reference = source if same else opener(pictures.reference, True)
    if isinstance(reference, str) or isinstance(result, str):
        missing = reference if isinstance(reference, str) else str(result)
        return SmallPictures(_reduced(source), _reduced(result), missing)
    levels = difference(reference, result)
    size = thumbnails.fit_size(levels.shape[1], levels.shape[0], SIDES_PX[0])
    levels = max_pool(levels, size)
    ground = thumbnails.area_thumbnail(reference, size, on_checkerboard=False)
    return SmallPictures(_reduced(source), _reduced(result), Heat(Image(ground), levels))


def _reduced(picture: Image | str) -> Image | str:
    from imgpipe.report import thumbnails

    if isinstance(picture, str):
        return picture
    size = thumbnails.fit_size(picture.width, picture.height, SIDES_PX[0])
    return Image(thumbnails.area_thumbnail(picture, size))


def _picture_cell(label: str, picture: Image | str, budget: int) -> str:
    from imgpipe.report.thumbnails import area_thumbnail, encode_webp, fit_size

    if isinstance(picture, str):
        return picture
    data = b""
    for side in SIDES_PX:
        data = encode_webp(area_thumbnail(picture, fit_size(picture.width, picture.height, side)))
        if len(data) <= budget:
            break
    return _as_markdown(label, data)


def _heat_cell(heat: Heat | str, budget: int) -> str:
    """Finely packed where that fits, so that thin lines stay sharp."""
    from imgpipe.report.thumbnails import encode_webp, fit_size, heat_thumbnail

    if isinstance(heat, str):
        return heat
    data = b""
    for side in SIDES_PX:
        size = fit_size(heat.reference.width, heat.reference.height, side)
        pixels = heat_thumbnail(heat.reference, heat.levels, size)
        for fine in (True, False):
            data = encode_webp(pixels, fine=fine)
            if len(data) <= budget:
                return _as_markdown("difference", data)
    return _as_markdown("difference", data)


def _as_markdown(label: str, data: bytes) -> str:
    return f"![{label}](data:image/webp;base64,{base64.b64encode(data).decode()})"
