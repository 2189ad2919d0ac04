"""The report of a whole data set: ``images.parquet``, thumbnails, and last of all ``index.html``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd

from imgpipe.errors import ObjectUnreadable
from imgpipe.pictures.picture_set import PictureSet, find_pictures
from imgpipe.pictures.reader import PictureReader, for_each_image
from imgpipe.report.archive import ReportArchive, archive_key, read_archive, write_archive
from imgpipe.report.drift import compare_frames, frame_digest
from imgpipe.report.duplicates import group_near_duplicates
from imgpipe.report.frame import (
    PageContent,
    ShardRows,
    build_checks_frame,
    build_frame,
    collect_lines,
    metric_names,
)
from imgpipe.report.metrics import in_reading_order
from imgpipe.report.page import render_page
from imgpipe.report.payload import counts_by_status
from imgpipe.report.pictures import FOLDER, KINDS, ThumbnailMaker, Thumbnails
from imgpipe.report.progress import Progress
from imgpipe.report.selection import choose_images, worst_per_check
from imgpipe.storage import keys
from imgpipe.storage.parquet import printable
from imgpipe.storage.store import ImageStore

#: Images shown per check in the gallery.
WORST_PER_CHECK = 12
#: Near-duplicates that get a thumbnail of their source beyond ``max_thumbnails``.
_MAX_SHOWN_DUPLICATES = 48


@dataclass(frozen=True, slots=True)
class ReportResult:
    """The contents of a report and its place.

    ``counts``: images by status and ``n``. ``metrics``: score -> ``mean``, ``p05`` (fifth percentile) and
    ``min`` of its finite values, for scores that have any. ``thumbnails``: images with thumbnails;
    ``thumbnail_files_written``: new files. ``problems``: what could not be read for the report, in words.
    """

    counts: Mapping[str, int]
    page_key: str
    page_url: str
    table_url: str
    metrics: Mapping[str, Mapping[str, float]]
    thumbnails: int
    thumbnail_files_written: int
    near_duplicate_groups: int
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is decoded for one report at most.

    ``thumbnails``: images that get thumbnails (up to six small files each). ``hashes``: sources that are
    decoded to find near-duplicates; hashes of the previous report are kept, so that later reports cover more.
    """

    thumbnails: int = 400
    hashes: int = 2000


def build_report(
    dataset: str,
    shards: Iterable[ShardRows],
    reader: PictureReader,
    *,
    matte_asset: str,
    bounds: Bounds = Bounds(),
    problems: Sequence[str] = (),
    say: Callable[[str], None] = lambda line: None,
) -> ReportResult:
    """Write the report of a data set; the previous one stays complete until the last write.

    ``reader``: opens the pictures; the report is written to its output. ``matte_asset``: the asset whose main
    pictures are cutouts. ``problems``: what was left out of ``shards``, for the page.
    ``say``: is told every minute how far the pictures have come.

    Raises :class:`ConfigError` for a shard without tables, and StoreUnavailable.
    """
    output = reader.output
    lines = collect_lines(shards)
    frame, checks = build_frame(lines), build_checks_frame(lines)
    metrics = in_reading_order(metric_names(lines))
    said = list(problems)
    before = _read_previous(output, dataset, said)
    facts = _facts(frame, metrics, before)
    worst = worst_per_check(checks, WORST_PER_CHECK)
    chosen = choose_images(frame, worst, bounds.thumbnails)
    existing = frozenset(item.key for item in output.list(keys.report_key(dataset, FOLDER) + "/"))
    maker = ThumbnailMaker(dataset, reader, existing)
    pictures = [find_pictures(line.assets, line.stages, matte_asset) for line in lines]
    hashes = _kept_hashes(frame, before)
    made, groups = _make_pictures(maker, pictures, chosen, hashes, bounds.hashes, say)
    said += [f"{lines[i].final.source_key}: {made[i].problem}" for i in sorted(made) if made[i].problem]
    frame = _with_pictures(frame, made, hashes, groups)
    content = PageContent(dataset, frame, checks, lines, metrics, worst, chosen, facts, tuple(said))
    write_archive(output, dataset, ReportArchive(frame, facts))
    page_key = keys.report_key(dataset, "index.html")
    output.write(page_key, printable(render_page(content)).encode(), overwrite=True)
    _delete_unused(output, dataset, existing, frame)
    return ReportResult(
        counts={"n": len(frame), **counts_by_status(frame)},
        page_key=page_key,
        page_url=output.uri(page_key),
        table_url=output.uri(archive_key(dataset)),
        metrics=_summaries(frame, metrics),
        thumbnails=sum(1 for position in chosen if made[position].paths),
        thumbnail_files_written=sum(each.written for each in made.values()),
        near_duplicate_groups=int(groups.nunique()),
        problems=tuple(said),
    )


def _summaries(frame: pd.DataFrame, metrics: Sequence[str]) -> dict[str, dict[str, float]]:
    finite = {name: frame[name][np.isfinite(frame[name])] for name in metrics}
    return {
        name: {"mean": float(values.mean()), "p05": float(values.quantile(0.05)), "min": float(values.min())}
        for name, values in finite.items()
        if len(values)
    }


def _read_previous(output: ImageStore, dataset: str, problems: list[str]) -> ReportArchive | None:
    try:
        return read_archive(output, dataset)
    except ObjectUnreadable as exc:
        problems.append(f"no comparison with the previous report: {exc}")
        return None


def _facts(frame: pd.DataFrame, metrics: Sequence[str], before: ReportArchive | None) -> dict[str, Any]:
    """Digest and drift. A report on unchanged rows repeats the drift of the one that it replaces."""
    digest = frame_digest(frame, metrics)
    facts: dict[str, Any] = {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "rows_digest": digest,
        "drift": None,
        "previous_created": None,
    }
    if before is None:
        return facts
    if before.facts.get("rows_digest") == digest:
        return facts | {name: before.facts.get(name) for name in ("drift", "previous_created")}
    drift = compare_frames(before.frame, frame, metrics)
    return facts | {"drift": drift, "previous_created": before.facts.get("created", "an unknown time")}


def _kept_hashes(frame: pd.DataFrame, before: ReportArchive | None) -> dict[int, str]:
    """Line number -> hash of the same source bytes in the previous report (empty text: no structure)."""
    if before is None or not {"dhash", "source_sha256"} <= set(before.frame.columns):
        return {}
    known = before.frame[["source_sha256", "dhash"]].dropna()
    by_source = dict(zip(known["source_sha256"].astype(str), known["dhash"].astype(str), strict=True))
    by_source.pop("", None)
    return {
        position: by_source[sha256]
        for position, sha256 in enumerate(frame["source_sha256"].astype(str))
        if sha256 in by_source
    }


def _make_pictures(
    maker: ThumbnailMaker,
    pictures: Sequence[PictureSet],
    chosen: Sequence[int],
    hashes: dict[int, str],
    max_hashes: int,
    say: Callable[[str], None],
) -> tuple[dict[int, Thumbnails], pd.Series]:
    """Thumbnails by line, and the groups of near-duplicates; new hashes are added to ``hashes``."""
    made = for_each_image(
        maker.make, {i: pictures[i] for i in chosen}, Progress("images with thumbnails", len(chosen), say)
    )
    _take_hashes(made, hashes)
    failed = {i for i, each in made.items() if each.problem}
    sources = [PictureSet(each.source) for each in pictures]
    unknown = [i for i, each in enumerate(sources) if each.source and i not in hashes and i not in failed]
    places = max(max_hashes - len(hashes), 0)
    sought = {i: sources[i] for i in unknown[:places]}
    hashed = for_each_image(
        maker.hash_source, sought, Progress("sources compared with each other", len(sought), say)
    )
    _take_hashes(hashed, hashes)
    made |= {i: each for i, each in hashed.items() if each.problem}
    groups = _group(hashes, len(pictures))
    if chosen:
        members = groups.dropna().sort_values(kind="stable").index
        missing = [int(i) for i in members if i not in made][:_MAX_SHOWN_DUPLICATES]
        made |= for_each_image(maker.make, {i: sources[i] for i in missing})
    return made, groups


def _group(hashes: Mapping[int, str], count: int) -> pd.Series:
    """Number of the group of near-duplicates per line, missing where there is none."""
    known = pd.Series({position: text for position, text in hashes.items() if text}, dtype="object")
    return group_near_duplicates(known.sort_index()).reindex(range(count)).astype("Int64")


def _take_hashes(made: Mapping[int, Thumbnails], hashes: dict[int, str]) -> None:
    hashes.update({i: each.source_hash for i, each in made.items() if each.source_hash is not None})


def _with_pictures(
    frame: pd.DataFrame, made: Mapping[int, Thumbnails], hashes: Mapping[int, str], groups: pd.Series
) -> pd.DataFrame:
    """The frame with ``thumb_<kind>``, ``dhash`` and ``duplicate_group``."""
    positions = range(len(frame))
    columns = {
        f"thumb_{kind}": pd.Series(
            [made[i].paths.get(kind) if i in made else None for i in positions], dtype="string"
        )
        for kind in KINDS
    }
    columns["dhash"] = pd.Series([hashes.get(i) for i in positions], dtype="string")
    columns["duplicate_group"] = groups
    return pd.concat([frame, pd.DataFrame(columns)], axis=1)


def _delete_unused(output: ImageStore, dataset: str, existing: frozenset[str], frame: pd.DataFrame) -> None:
    """Delete thumbnails that the page no longer shows; after it was written, so that no link breaks."""
    used = {keys.report_key(dataset, str(path)) for kind in KINDS for path in frame[f"thumb_{kind}"].dropna()}
    for key in sorted(existing - used):
        output.delete(key)
