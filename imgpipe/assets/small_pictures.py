"""One image's source, result and difference as small pictures, packed to fit a budget."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imgpipe.assets.links import data_address, plain_cell
from imgpipe.images.image import Image
from imgpipe.pictures.reader import OpenPictures
from imgpipe.records import ImageRow

if TYPE_CHECKING:
    from imgpipe.report.thumbnails import Float

#: Longest sides that are tried, px, until a picture fits its budget; the first is what is kept in memory.
SIDES_PX = (128, 112, 96, 80, 64, 48)
#: Characters of a reason that are shown.
_REASON_LENGTH = 300


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


def small_pictures(opened: OpenPictures) -> SmallPictures:
    """Read, compare and reduce the pictures of one image."""
    source = _open(opened, opened.pictures.source)
    result = _open(opened, opened.pictures.result or opened.pictures.matte)
    return SmallPictures(_reduced(source), _reduced(result), _heat(opened, source, result))


def _open(opened: OpenPictures, row: ImageRow | None) -> Image | str:
    if row is None:
        return "not made"
    found = opened.get_or_reason(row)
    return plain_cell(f"not readable: {found}"[:_REASON_LENGTH]) if isinstance(found, str) else found


def _heat(opened: OpenPictures, source: Image | str, result: Image | str) -> Heat | str:
    from imgpipe.pixels.difference import difference, max_pool
    from imgpipe.report import thumbnails

    pictures = opened.pictures
    if pictures.result is None or pictures.reference is None:
        return "nothing to compare"
    reference = source if pictures.reference is pictures.source else _open(opened, pictures.reference)
    if isinstance(reference, str):
        return reference
    if isinstance(result, str):
        return result
    levels = difference(reference, result)
    size = thumbnails.fit_size(levels.shape[1], levels.shape[0], SIDES_PX[0])
    ground = thumbnails.area_thumbnail(reference, size, on_checkerboard=False)
    return Heat(Image(ground), max_pool(levels, size))


def _reduced(picture: Image | str) -> Image | str:
    from imgpipe.report import thumbnails

    if isinstance(picture, str):
        return picture
    size = thumbnails.fit_size(picture.width, picture.height, SIDES_PX[0])
    return Image(thumbnails.area_thumbnail(picture, size))


def _picture_cell(label: str, picture: Image | str, budget: int) -> str:
    from imgpipe.report.thumbnails import whole_as_webp

    if isinstance(picture, str):
        return picture
    return _first_within(budget, label, (whole_as_webp(picture, side) for side in SIDES_PX))


def _heat_cell(heat: Heat | str, budget: int) -> str:
    """At high WebP quality where that fits, so that thin lines stay sharp."""
    from imgpipe.report.thumbnails import encode_webp, fit_size, heat_thumbnail

    if isinstance(heat, str):
        return heat
    sizes = (fit_size(heat.reference.width, heat.reference.height, side) for side in SIDES_PX)
    pixels = (heat_thumbnail(heat.reference, heat.levels, size) for size in sizes)
    packed = (encode_webp(each, fine=fine) for each in pixels for fine in (True, False))
    return _first_within(budget, "difference", packed)


def _first_within(budget: int, label: str, packed: Iterable[bytes]) -> str:
    """The first picture of at most ``budget`` bytes, else the last, as a Markdown image."""
    data = b""
    for data in packed:
        if len(data) <= budget:
            break
    return f"![{label}]({data_address('image/webp', data)})"
