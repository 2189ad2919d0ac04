"""Small pictures of a shard's images, inline in Markdown, for checks and assets in the UI.

The UI shows Markdown images with ``data:`` addresses, also in tables, and drops everything else that
could carry a picture. All of one gallery stays below :data:`BUDGET_BYTES`, since every event is stored in
Dagster's database and read with its neighbours.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from dagster import MetadataValue

from imgpipe.assets.links import browser_link, code_cell, link_metadata, plain_cell
from imgpipe.assets.small_pictures import NOTHING, SmallPictures, small_pictures
from imgpipe.config import Settings
from imgpipe.engines.decoders import source_decoder
from imgpipe.engines.shard import Stores
from imgpipe.errors import PER_IMAGE_ERRORS, ObjectMissing
from imgpipe.records import ImageRow
from imgpipe.stages.catalogue import RAW
from imgpipe.stages.chain import steps
from imgpipe.storage import keys
from imgpipe.storage.tables import read_table

if TYPE_CHECKING:
    from imgpipe.images.image import Image
    from imgpipe.report.pictures import PictureSet

#: Images shown in one gallery.
MAX_IMAGES = 20
#: Size of one gallery's Markdown, bytes.
BUDGET_BYTES = 190_000
#: What the signs of a line and its pictures' addresses take, bytes.
_FRAME_BYTES = 250
#: Letters of a reason that are shown.
_WHY_LENGTH = 400
#: No picture gets more bytes than this, however few there are.
_MAX_PICTURE_BYTES = 6000
#: Pictures above this many pixels are opened one after another.
_LARGE_PX = 40_000_000
_THREADS = 4


@dataclass(frozen=True, slots=True)
class Shown:
    """An image and why it is shown, in words."""

    image_id: str
    why: str


class Gallery:
    """Thumbnails of one shard, each made once however many checks show it.

    Reads the stored files: what is seen is what there is. A picture that cannot be read costs its cell,
    which says why.
    """

    def __init__(self, settings: Settings, stores: Stores, shard: str) -> None:
        self._settings = settings
        self._stores = stores
        self._shard = shard
        self._made: dict[str, SmallPictures] = {}

    def markdown(self, shown: Sequence[Shown], *, of: int = 0) -> str:
        """A table of source, result, difference and reason; the first :data:`MAX_IMAGES` images.

        Files have a column of links where a browser can follow them (S3); the paths of a folder stand
        below, since the UI takes the target off ``file://`` links. ``of``: how many images share the budget,
        where this is one of several tables.
        """
        chosen = shown[:MAX_IMAGES]
        if not chosen:
            return ""
        self._make([one.image_id for one in chosen])
        links = [self._links(one.image_id) for one in chosen]
        linked = any(links)
        columns = ("image", "source", "result", "difference", "why", *(("files",) if linked else ()))
        after = (
            []
            if len(shown) == len(chosen)
            else [f"and {len(shown) - len(chosen)} more; the report shows them"]
        )
        if not linked:
            after += [f"Files, below {code_cell(self._stores.output.url)}:", self._file_list(chosen)]
        words = [(code_cell(one.image_id), plain_cell(one.why[:_WHY_LENGTH])) for one in chosen]
        text_bytes = len("".join([*links, *after, *(part for pair in words for part in pair)]).encode())
        budget = _picture_budget(len(chosen), max(len(chosen), of), text_bytes)
        lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
        for one, (name, why), found in zip(chosen, words, links, strict=True):
            cells = self._made[one.image_id].markdown(budget)
            lines.append(f"| {' | '.join((name, *cells, why, *((found,) if linked else ())))} |")
        return "\n\n".join(["\n".join(lines), *after])

    def metadata(self, name: str, shown: Sequence[Shown]) -> dict[str, MetadataValue[Any]]:
        """``name``: the table as Markdown, and ``report``: where the page with all images lies."""
        key = keys.report_key(self._settings.dataset, "index.html")
        return {
            name: MetadataValue.md(self.markdown(shown)),
            "report": link_metadata(self._stores.output.uri(key), self._settings.s3),
        }

    def _links(self, image_id: str) -> str:
        """Links to the source and to every file of this image; empty where a browser cannot follow them."""
        source = self._tables.get(RAW, {}).get(image_id)
        found = [] if source is None else [("source", self._stores.source.uri(source.source_key))]
        found += [(name, self._stores.output.uri(key)) for name, key in self._own_files(image_id)]
        links = ((name, browser_link(uri, self._settings.s3)) for name, uri in found)
        return " ".join(f"[{name}](<{link}>)" for name, link in links if link is not None)

    def _own_files(self, image_id: str) -> Iterable[tuple[str, str]]:
        """(kind, key in the output) of every file that the rows of this image name."""
        for rows in self._tables.values():
            if image_id in rows:
                yield from rows[image_id].details.get("files", {}).items()

    def _file_list(self, chosen: Sequence[Shown]) -> str:
        return "\n".join(f"- {code_cell(key)}" for one in chosen for _, key in self._own_files(one.image_id))

    @cached_property
    def _tables(self) -> dict[str, dict[str, ImageRow]]:
        """asset -> image -> row, of the tables that stand."""
        found: dict[str, dict[str, ImageRow]] = {}
        for step in steps(self._settings):
            try:
                rows, _ = read_table(self._stores.output, step.asset, self._settings.dataset, self._shard)
            except ObjectMissing:
                continue  # Not made yet: its pictures do not exist.
            found[step.asset] = {row.image_id: row for row in rows}
        return found

    def _make(self, image_ids: Sequence[str]) -> None:
        missing = [name for name in dict.fromkeys(image_ids) if name not in self._made]
        sets = {name: self._pictures(name) for name in missing}
        self._made |= {name: NOTHING for name, pictures in sets.items() if pictures is None}
        found = {name: pictures for name, pictures in sets.items() if pictures is not None}
        large = any(pictures.pixels > _LARGE_PX for pictures in found.values())
        with ThreadPoolExecutor(
            1 if large else min(_THREADS, os.cpu_count() or 1), "imgpipe-gallery"
        ) as pool:
            made = pool.map(lambda pictures: small_pictures(pictures, self._open), found.values())
            self._made |= dict(zip(found, made, strict=True))

    def _pictures(self, image_id: str) -> PictureSet | None:
        from imgpipe.report.frame import ImageLine
        from imgpipe.report.pictures import picture_set

        stages = {asset: rows[image_id] for asset, rows in self._tables.items() if image_id in rows}
        if RAW not in stages:
            return None
        assets = tuple(step.asset for step in steps(self._settings))
        return picture_set(ImageLine(self._shard, assets, list(stages.values())[-1], stages))

    def _open(self, row: ImageRow, own: bool) -> Image | str:
        """The decoded main picture of a row, else why there is none. Sources are decoded in a worker."""
        from imgpipe.images.decode import decode

        limits = self._settings.limits
        try:
            if own:
                data = self._stores.output.read(row.output_key)
                name = self._stores.output.uri(row.output_key)
                return decode(data, name=name, limits=limits.for_own_files())
            data = self._stores.source.read(row.source_key, etag=row.etag)
            decoder = source_decoder(self._settings.isolation, self._decoders)
            return decoder.decode(data, name=self._stores.source.uri(row.source_key), limits=limits)
        except PER_IMAGE_ERRORS as exc:
            return plain_cell(f"not readable: {type(exc).__name__}: {exc}"[:300])

    @property
    def _decoders(self) -> int:
        """As many as the engine has, so that its warm workers are the ones that are used."""
        cores = os.cpu_count() or 1
        return min(self._settings.workers or cores + 2, cores)


def worst_first(rows: Iterable[ImageRow], count: int) -> list[Shown]:
    """The ``count`` images to look at first: what is not good, then the lowest luma PSNR."""
    ranked = sorted(
        (row for row in rows if row.status.value != "skipped" and "psnr_y" in row.metrics),
        key=lambda row: (row.status.value == "ok", row.metrics["psnr_y"]),
    )
    return [Shown(row.image_id, "; ".join(row.reasons) or _scores(row)) for row in ranked[:count]]


def _scores(row: ImageRow) -> str:
    names = {"psnr_y": "PSNR {:.1f} dB", "ssim_y": "SSIM {:.4f}"}
    return ", ".join(text.format(row.metrics[name]) for name, text in names.items() if name in row.metrics)


def _picture_budget(images: int, of: int, text_bytes: int) -> int:
    """Bytes for each of three pictures per image, so that with base64 and text all of it stays in bounds."""
    for_pictures = BUDGET_BYTES * images // of - text_bytes - _FRAME_BYTES * images
    return min(max(for_pictures, 0) * 3 // 4 // (3 * images), _MAX_PICTURE_BYTES)
