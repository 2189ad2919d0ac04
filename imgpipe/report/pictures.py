"""Thumbnails of images, made from the stored pictures.

A thumbnail's name holds a digest of everything that it shows: one that is there already is right, and
the page that an unfinished report leaves behind still finds all its pictures.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from imgpipe.errors import PER_IMAGE_ERRORS
from imgpipe.images.image import Image
from imgpipe.pictures.picture_set import PictureSet
from imgpipe.pictures.reader import OpenPictures, PictureReader
from imgpipe.pixels.difference import difference
from imgpipe.records import ImageRow
from imgpipe.report import thumbnails
from imgpipe.report.duplicates import dhash
from imgpipe.storage import keys

#: Increment when the same pictures get other thumbnails.
_CODE_VERSION = 3
FOLDER = "thumbs"
#: In the order in which they are shown.
KINDS = ("source", "result", "matte", "diff", "detail_source", "detail_result")


@dataclass(frozen=True, slots=True)
class Thumbnails:
    """Thumbnails of one image.

    ``paths``: kind -> path below the report's folder. ``source_hash``: dhash of the source, 16 hexadecimal
    digits; empty where the picture has no structure, ``None`` where it was not opened. ``written``: new
    files. ``problem``: what could not be read, in words.
    """

    paths: Mapping[str, str] = field(default_factory=dict)
    source_hash: str | None = None
    written: int = 0
    problem: str = ""


def planned_paths(pictures: PictureSet) -> dict[str, str]:
    """kind -> path below the report's folder, for every thumbnail that these pictures allow."""
    if pictures.source is None:
        return {}
    shown: dict[str, tuple[ImageRow, ...]] = {"source": (pictures.source,)}
    if pictures.matte is not None:
        shown["matte"] = (pictures.matte,)
    if pictures.result is not None and pictures.reference is not None:
        shown["result"] = (pictures.result,)
        pair = (pictures.reference, pictures.result)
        shown |= {"diff": pair, "detail_source": pair, "detail_result": pair}
    image_id = pictures.source.image_id
    return {
        kind: f"{FOLDER}/{image_id}.{kind}.{_digest(kind, shown[kind])}.webp"
        for kind in KINDS
        if kind in shown
    }


@dataclass(frozen=True, slots=True)
class ThumbnailMaker:
    """Makes and stores thumbnails. ``existing``: keys that are there already."""

    dataset: str
    reader: PictureReader
    existing: frozenset[str]

    def make(self, pictures: PictureSet) -> Thumbnails:
        """All thumbnails of one image; a picture that cannot be read costs its thumbnails and is reported."""
        paths = planned_paths(pictures)
        missing = {kind for kind in paths if keys.report_key(self.dataset, paths[kind]) not in self.existing}
        if pictures.source is None or not missing:
            return Thumbnails(paths)
        opened = OpenPictures(pictures, self.reader)
        made: dict[str, bytes] = {}
        source_hash, problem = None, ""
        try:
            source = opened.get(pictures.source)
            source_hash = _hash(source)
            if "source" in missing:
                made["source"] = thumbnails.whole_as_webp(source)
            if "matte" in missing and pictures.matte is not None:
                made["matte"] = thumbnails.whole_as_webp(opened.get(pictures.matte))
            if pictures.reference and pictures.result and missing - {"source", "matte"}:
                made |= _compare(opened.get(pictures.reference), opened.get(pictures.result))
        except PER_IMAGE_ERRORS as exc:
            problem = f"{type(exc).__name__}: {exc}"
        for kind, data in made.items():
            self.reader.output.write(keys.report_key(self.dataset, paths[kind]), data, overwrite=True)
        there = {kind: path for kind, path in paths.items() if kind not in missing or kind in made}
        return Thumbnails(there, source_hash, len(made), problem)

    def hash_source(self, pictures: PictureSet) -> Thumbnails:
        """The source's hash alone."""
        if pictures.source is None:
            return Thumbnails()
        try:
            return Thumbnails(source_hash=_hash(self.reader.read(pictures.source)))
        except PER_IMAGE_ERRORS as exc:
            return Thumbnails(problem=f"{type(exc).__name__}: {exc}")


def _compare(reference: Image, result: Image) -> dict[str, bytes]:
    """The result, its heat map, and the place of the largest difference before and after."""
    levels = difference(reference, result)
    size = thumbnails.fit_size(levels.shape[1], levels.shape[0])
    before_box, after_box = thumbnails.hottest_region(levels, reference, result)
    before = thumbnails.crop_thumbnail(reference, before_box, after_box[2:])
    after = thumbnails.crop_thumbnail(result, after_box, after_box[2:])
    return {
        "result": thumbnails.whole_as_webp(result),
        "diff": thumbnails.encode_webp(thumbnails.heat_thumbnail(reference, levels, size), fine=True),
        "detail_source": thumbnails.encode_webp(before, fine=True),
        "detail_result": thumbnails.encode_webp(after, fine=True),
    }


def _hash(source: Image) -> str:
    size = thumbnails.fit_size(source.width, source.height, 128)
    found = dhash(thumbnails.area_thumbnail(source, size, on_checkerboard=False))
    return "" if found is None else f"{found:016x}"


def _digest(kind: str, rows: Sequence[ImageRow]) -> str:
    facts = [str(_CODE_VERSION), str(thumbnails.MAX_SIDE_PX), kind, *(row.output_sha256 for row in rows)]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:12]
