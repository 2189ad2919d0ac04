"""Small pictures of a shard's images, inline in Markdown, for checks and assets in the UI.

The UI shows Markdown images with ``data:`` addresses, also in tables, and drops everything else that
could carry a picture. All of one gallery stays below :data:`BUDGET_BYTES`, since every event is stored in
Dagster's database and read with its neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from dagster import MetadataValue

from imgpipe.assets.links import browser_link, code_cell, plain_cell, report_link, served_link
from imgpipe.assets.small_pictures import NOTHING, SmallPictures, small_pictures
from imgpipe.config import Settings
from imgpipe.pictures.picture_set import find_pictures
from imgpipe.pictures.reader import OpenPictures, PictureReader, for_each_image
from imgpipe.records import ImageRow, Status
from imgpipe.stages.catalogue import MATTED, RAW
from imgpipe.stages.chain import steps
from imgpipe.storage.opening import Stores
from imgpipe.storage.tables import read_standing

#: Images shown in one gallery.
MAX_IMAGES = 20
#: Size of one gallery's Markdown, bytes.
BUDGET_BYTES = 190_000
#: Size of a line without its pictures, text and links, bytes.
_FRAME_BYTES = 250
#: Characters of a reason that are shown.
_WHY_LENGTH = 400
#: No picture gets more bytes than this, however few there are.
_MAX_PICTURE_BYTES = 6000


@dataclass(frozen=True, slots=True)
class Shown:
    """An image, the path of its source, and why it is shown, in words."""

    image_id: str
    source_key: str
    why: str


class Gallery:
    """Thumbnails of one shard, each made once however many checks show it.

    They are made from the stored files. The cell of a picture that cannot be read says why.
    """

    def __init__(self, settings: Settings, stores: Stores, shard: str) -> None:
        self._settings = settings
        self._stores = stores
        self._shard = shard
        self._assets = tuple(step.asset for step in steps(settings))
        self._reader = PictureReader.of(settings, stores)
        self._made: dict[str, SmallPictures] = {}

    def markdown(self, shown: Sequence[Shown], *, of: int = 0) -> str:
        """A table of source, result, difference and reason; the first :data:`MAX_IMAGES` images.

        ``of``: how many images share the budget, where this is one of several tables.
        """
        chosen = shown[:MAX_IMAGES]
        if not chosen:
            return ""
        self._make([one.image_id for one in chosen])
        links = [self._links(one.image_id) for one in chosen]
        columns = ("image", "source", "result", "difference", "why", "files")
        more = len(shown) - len(chosen)
        after = [f"and {more} more; the report shows them"] if more else []
        words = [(code_cell(one.source_key), plain_cell(one.why[:_WHY_LENGTH])) for one in chosen]
        text_bytes = len("".join([*links, *after, *(part for pair in words for part in pair)]).encode())
        budget = _picture_budget(len(chosen), max(len(chosen), of), text_bytes)
        lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
        for one, (name, why), found in zip(chosen, words, links, strict=True):
            cells = self._made[one.image_id].markdown(budget)
            lines.append(f"| {' | '.join((name, *cells, why, found))} |")
        return "\n\n".join(["\n".join(lines), *after])

    def metadata(self, name: str, shown: Sequence[Shown]) -> dict[str, MetadataValue[Any]]:
        """``name``: the table as Markdown, and ``report``: where the page with all images lies."""
        return {
            name: MetadataValue.md(self.markdown(shown)),
            "report": MetadataValue.url(report_link(self._settings)),
        }

    def _links(self, image_id: str) -> str:
        """Links to a source on S3, and to every file that the rows of this image name."""
        found = {}
        for asset, rows in self._tables.items():
            if image_id in rows and asset == RAW:
                uri = self._stores.source.uri(rows[image_id].source_key)
                found["source"] = browser_link(uri, self._settings.s3)
            if image_id in rows:
                files = rows[image_id].files
                found |= {name: served_link(self._settings, key) for name, key in files.items()}
        return " ".join(f"[{name}](<{link}>)" for name, link in found.items() if link is not None)

    @cached_property
    def _tables(self) -> dict[str, dict[str, ImageRow]]:
        """asset -> image -> row, of the tables that exist."""
        return read_standing(self._stores.output, self._assets, self._settings.dataset, self._shard)

    def _make(self, image_ids: Sequence[str]) -> None:
        found = {}
        for image_id in image_ids:
            rows = {asset: table[image_id] for asset, table in self._tables.items() if image_id in table}
            if image_id not in self._made and RAW in rows:
                found[image_id] = find_pictures(self._assets, rows, MATTED)
            else:
                self._made.setdefault(image_id, NOTHING)
        self._made |= for_each_image(lambda each: small_pictures(OpenPictures(each, self._reader)), found)


def worst_first(rows: Iterable[ImageRow], count: int) -> list[Shown]:
    """The ``count`` images to look at first: rejected ones, then those with the lowest luma PSNR (dB).

    What was rejected before it was scored comes after the rejected ones with a score.
    """
    from imgpipe.report.selection import worst_first as ranked

    present = [row for row in rows if row.status is not Status.SKIPPED]
    shown = [row for row in present if row.status is Status.REJECTED or "psnr_y" in row.metrics]
    scores = [row.metrics.get("psnr_y", math.inf) for row in shown]
    first = ranked([row.status.value for row in shown], scores)[:count]
    return [
        Shown(row.image_id, row.source_key, "; ".join(row.reasons) or _scores(row))
        for row in (shown[i] for i in first)
    ]


def _scores(row: ImageRow) -> str:
    names = {"psnr_y": "PSNR {:.1f} dB", "ssim_y": "SSIM {:.4f}"}
    return ", ".join(text.format(row.metrics[name]) for name, text in names.items() if name in row.metrics)


def _picture_budget(images: int, of: int, text_bytes: int) -> int:
    """Bytes for each of three pictures per image, so that with base64 and text all of it stays in bounds."""
    for_pictures = BUDGET_BYTES * images // of - text_bytes - _FRAME_BYTES * images
    return min(max(for_pictures, 0) * 3 // 4 // (3 * images), _MAX_PICTURE_BYTES)
