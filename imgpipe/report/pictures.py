"""Which images get thumbnails, and making them from the stored pictures.

A thumbnail's name holds a digest of everything that it shows: one that is there already is right, and
the page that an unfinished report leaves behind still finds all its pictures.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from imgpipe.errors import PER_IMAGE_ERRORS
from imgpipe.images.image import Image
from imgpipe.pixels.difference import difference
from imgpipe.records import ImageRow, Status
from imgpipe.report import thumbnails
from imgpipe.report.duplicates import dhash
from imgpipe.report.frame import ImageLine, picture_stages
from imgpipe.settings import LimitSettings
from imgpipe.storage import keys
from imgpipe.storage.store import ImageStore

#: Increment when the same pictures get other thumbnails.
_CODE_VERSION = 2
#: The matting stage's table; its main pictures are cutouts.
_MATTE_ASSET = "matted_images"
_FOLDER = "thumbs"
#: Pictures above this many pixels are worked on one at a time.
_LARGE_PX = 40_000_000
_THREADS = 4
#: Our own files may be larger than sources; only what they occupy in memory is bounded.
_OWN_FILES_MAX_BYTES = 1 << 40

#: A stage may reject what it made (a doubtful matte); its picture is there to be looked at.
_WITH_PICTURE = (Status.OK, Status.REJECTED)
#: In the order in which they are shown.
KINDS = ("source", "result", "matte", "diff", "detail_source", "detail_result")


@dataclass(frozen=True, slots=True)
class PictureSet:
    """Where one image's pictures lie: rows whose main file is a picture, ``None`` where there is none.

    ``reference`` is what the result has to look like: the picture before it was enlarged.
    """

    line: ImageLine
    source: ImageRow | None
    matte: ImageRow | None = None
    reference: ImageRow | None = None
    result: ImageRow | None = None

    @property
    def pixels(self) -> int:
        rows = (self.source, self.matte, self.reference, self.result)
        return max((row.width * row.height for row in rows if row is not None), default=0)


@dataclass(frozen=True, slots=True)
class Thumbnails:
    """What came of one image: kind -> path below the report's folder, the source's hash, what went wrong."""

    paths: Mapping[str, str] = field(default_factory=dict)
    source_hash: int | None = None
    hashed: bool = False
    written: int = 0
    problem: str = ""


def picture_set(line: ImageLine) -> PictureSet:
    """Find the pictures of a line; later ones than the stage that failed do not exist."""
    first = line.stages.get(line.assets[0])
    source = first if first is not None and first.status is Status.OK and first.output_key else None
    made = {
        asset: row
        for asset, row in picture_stages(line).items()
        if source is not None and row.status in _WITH_PICTURE and row.output_key
    }
    wanted = line.assets[1:-1]
    finished = bool(wanted) and wanted[-1] in made
    result = made[wanted[-1]] if finished else None
    before = [row for row in (source, *made.values()) if row is not None and row is not result]
    smaller = [row for row in before if result and (row.width, row.height) != (result.width, result.height)]
    reference = (smaller[-1] if smaller else source) if result is not None else None
    return PictureSet(line, source, made.get(_MATTE_ASSET), reference, result)


def planned_paths(pictures: PictureSet) -> dict[str, str]:
    """kind -> path below the report's folder, for every thumbnail that these pictures allow."""
    image_id = pictures.line.final.image_id
    shown: dict[str, tuple[ImageRow, ...]] = {}
    if pictures.source is not None:
        shown["source"] = (pictures.source,)
    if pictures.matte is not None:
        shown["matte"] = (pictures.matte,)
    if pictures.result is not None and pictures.reference is not None:
        shown["result"] = (pictures.result,)
        pair = (pictures.reference, pictures.result)
        shown |= {"diff": pair, "detail_source": pair, "detail_result": pair}
    return {
        kind: f"{_FOLDER}/{image_id}.{kind}.{_digest(kind, shown[kind])}.webp"
        for kind in KINDS
        if kind in shown
    }


@dataclass(frozen=True, slots=True)
class ThumbnailMaker:
    """Makes and stores thumbnails. ``existing``: keys that are there already."""

    dataset: str
    source: ImageStore
    output: ImageStore
    limits: LimitSettings
    existing: frozenset[str]

    def make_all(self, wanted: Mapping[int, PictureSet]) -> dict[int, Thumbnails]:
        """Line number -> all thumbnails of that line."""
        return _run_jobs(self.make, wanted)

    def make_sources(self, wanted: Mapping[int, PictureSet]) -> dict[int, Thumbnails]:
        """Line number -> the source's thumbnail alone."""
        return _run_jobs(lambda pictures: self.make(replace(pictures, matte=None, result=None)), wanted)

    def hash_all(self, wanted: Mapping[int, PictureSet]) -> dict[int, Thumbnails]:
        """Line number -> the source's hash alone, no thumbnail."""
        return _run_jobs(self.hash_source, wanted)

    def make(self, pictures: PictureSet) -> Thumbnails:
        """All thumbnails of one image; a picture that cannot be read costs its thumbnails and is said."""
        paths = planned_paths(pictures)
        missing = {kind for kind in paths if keys.report_key(self.dataset, paths[kind]) not in self.existing}
        if not missing:
            return Thumbnails(paths)
        made: dict[str, bytes] = {}
        opened: dict[int, Image] = {}
        problem = ""
        try:
            self._fill(pictures, missing, made, opened)
        except PER_IMAGE_ERRORS as exc:
            problem = f"{type(exc).__name__}: {exc}"
        for kind, data in made.items():
            self.output.write(keys.report_key(self.dataset, paths[kind]), data, overwrite=True)
        source = opened.get(id(pictures.source))
        return Thumbnails(
            {kind: path for kind, path in paths.items() if kind not in missing or kind in made},
            None if source is None else _hash(source),
            source is not None,
            len(made),
            problem,
        )

    def hash_source(self, pictures: PictureSet) -> Thumbnails:
        """The source's hash alone."""
        try:
            source = self._read_source(pictures)
        except PER_IMAGE_ERRORS as exc:
            return Thumbnails(problem=f"{type(exc).__name__}: {exc}")
        return Thumbnails() if source is None else Thumbnails(source_hash=_hash(source), hashed=True)

    def _fill(
        self, pictures: PictureSet, missing: set[str], made: dict[str, bytes], opened: dict[int, Image]
    ) -> None:
        """Put missing thumbnails into ``made``, and decoded pictures by their row's id into ``opened``."""
        source = self._read_source(pictures)
        if source is not None:
            opened[id(pictures.source)] = source
            if "source" in missing:
                made["source"] = _whole(source)
        if "matte" in missing and pictures.matte is not None:
            made["matte"] = _whole(self._read_own(pictures.matte, opened))
        if missing - {"source", "matte"}:
            made |= self._compare(pictures, opened)

    def _compare(self, pictures: PictureSet, opened: dict[int, Image]) -> dict[str, bytes]:
        """The result, its heat map, and the place of the largest difference before and after."""
        if pictures.result is None or pictures.reference is None:
            return {}
        reference = self._read_own(pictures.reference, opened)
        result = self._read_own(pictures.result, opened)
        levels = difference(reference, result)
        size = thumbnails.fit_size(levels.shape[1], levels.shape[0])
        before_box, after_box = thumbnails.hottest_region(levels, reference, result)
        before = thumbnails.crop_thumbnail(reference, before_box, after_box[2:])
        after = thumbnails.crop_thumbnail(result, after_box, after_box[2:])
        return {
            "result": _whole(result),
            "diff": thumbnails.encode_webp(thumbnails.heat_thumbnail(reference, levels, size), fine=True),
            "detail_source": thumbnails.encode_webp(before, fine=True),
            "detail_result": thumbnails.encode_webp(after, fine=True),
        }

    def _read_source(self, pictures: PictureSet) -> Image | None:
        if pictures.source is None:
            return None
        row = pictures.source
        return _decode(self.source, row.output_key, self.limits, etag=row.etag)

    def _read_own(self, row: ImageRow, opened: dict[int, Image]) -> Image:
        if id(row) not in opened:
            own = LimitSettings(
                max_pixels=self.limits.max_output_pixels,
                max_output_pixels=self.limits.max_output_pixels,
                max_bytes=_OWN_FILES_MAX_BYTES,
                max_aspect_ratio=65535.0,
            )
            opened[id(row)] = _decode(self.output, row.output_key, own, etag=None)
        return opened[id(row)]


def _run_jobs(
    job: Callable[[PictureSet], Thumbnails], wanted: Mapping[int, PictureSet]
) -> dict[int, Thumbnails]:
    """Small pictures by several threads, then large ones one after another, to bound the memory."""
    small = [position for position, pictures in wanted.items() if pictures.pixels <= _LARGE_PX]
    with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1), "imgpipe-report") as pool:
        done = dict(zip(small, pool.map(job, (wanted[position] for position in small)), strict=True))
    large = (position for position in wanted if position not in done)
    return done | {position: job(wanted[position]) for position in large}


def _whole(image: Image) -> bytes:
    size = thumbnails.fit_size(image.width, image.height)
    return thumbnails.encode_webp(thumbnails.area_thumbnail(image, size))


def _decode(store: ImageStore, key: str, limits: LimitSettings, *, etag: str | None) -> Image:
    from imgpipe.images.decode import decode

    return decode(store.read(key, etag=etag), name=store.uri(key), limits=limits)


def _hash(source: Image) -> int | None:
    size = thumbnails.fit_size(source.width, source.height, 128)
    return dhash(thumbnails.area_thumbnail(source, size, on_checkerboard=False))


def _digest(kind: str, rows: Sequence[ImageRow]) -> str:
    facts = [str(_CODE_VERSION), str(thumbnails.MAX_SIDE_PX), kind, *(row.output_sha256 for row in rows)]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:12]
