"""Processes one picture through all stages in memory, for ``imgpipe image`` and the worker."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imgpipe.config import Settings
from imgpipe.engines.kept import KEPT
from imgpipe.engines.local import run_items
from imgpipe.engines.review import with_document
from imgpipe.engines.reviewing import reviews_of
from imgpipe.engines.shard import RowListener, ignore_row
from imgpipe.engines.work import ObjectRef, WorkItem
from imgpipe.errors import ConfigError, EncodeError
from imgpipe.images.decoder import source_decoder
from imgpipe.pictures.reader import PictureReader, read_own_file
from imgpipe.records import ImageRow, Status
from imgpipe.review.book import Decisions
from imgpipe.review.build import require_reviewer
from imgpipe.review.reviewers import with_review
from imgpipe.stages.build import build_stage
from imgpipe.stages.catalogue import MATTED, QUALITY, RAW
from imgpipe.stages.chain import steps
from imgpipe.storage.local import LocalStore
from imgpipe.storage.memory import MemoryStore

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Processed:
    """``rows``: by asset, up to the one that rejected the picture or failed. ``output``: all files."""

    rows: Mapping[str, ImageRow]
    output: MemoryStore

    @property
    def data(self) -> bytes | None:
        """The result's file; ``None`` where a stage rejected the picture or failed: the last row says why."""
        if QUALITY not in self.rows or self.last.status is Status.ERROR:
            return None
        return self.output.read(list(self.rows.values())[-2].output_key)

    @property
    def rejected_data(self) -> bytes | None:
        """The file that the last stage made and rejected, where it made one."""
        last = self.last
        made = last.status is Status.REJECTED and last.stage_failed != QUALITY and last.output_key
        return self.output.read(last.output_key) if made else None

    @property
    def document(self) -> dict[str, Any]:
        """quality.json's object, where there is a result."""
        document: dict[str, Any] = json.loads(self.output.read(self.last.output_key))
        return document

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out or done otherwise on the way, such as "first of 3 frames kept"; the last row's
        reasons are its verdict's."""
        return tuple(reason for row in list(self.rows.values())[:-1] for reason in row.reasons)

    @property
    def last(self) -> ImageRow:
        return list(self.rows.values())[-1]


def process(
    data: bytes, name: str, settings: Settings, encoding: str = "", on_row: RowListener = ignore_row
) -> Processed:
    """Run the configured actions on the file of a picture; score and review what is returned.

    ``name``: what messages and quality.json call it. ``encoding``: a format that can be written, in which the
    result is scored and returned; without one as the last action wrote it. An error of ``on_row`` ends it.
    """
    require_reviewer(settings.review)
    store = MemoryStore(shown=name)
    store.write("source", data)
    refs = {RAW: ObjectRef(store, "source", settings.limits)}
    make = partial(run_items, workers=settings.workers, isolation=settings.isolation)
    own, rows = settings.limits.for_own_files(), dict[str, ImageRow]()
    for step in steps(settings):
        if step.asset == QUALITY and encoding and list(rows.values())[-1].format != encoding:
            rows = _reencode(store, rows, encoding, settings)
        inputs = {role: refs[asset] for role, asset in step.roles}
        # No result is reused between calls: rows have no hash.
        base = ImageRow(name, Path(name).stem, "", Status.OK)
        item = WorkItem(base, inputs, rows, partial(step.key, "single", "00000", "image"), lambda *_: "")
        (row,) = make(build_stage(step, settings), step.asset, [item], store)
        on_row(step.asset, "", row, True)
        if step.asset == QUALITY and row.status is not Status.ERROR:
            row = _reviewed(row, rows, store, settings)
        rows = {**rows, step.asset: row}
        if row.status is Status.ERROR or (row.status is Status.REJECTED and step.asset != QUALITY):
            break
        refs.setdefault(step.asset, ObjectRef(store, row.output_key, own, own=True))
    KEPT.shrink(0)  # What was encoded anew or refused, nothing reads.
    return Processed(rows, store)


def process_file(
    path: Path,
    settings: Settings,
    encoding: str,
    *,
    shown: bool = False,
    on_row: RowListener = ignore_row,
) -> Processed:
    """:func:`process` a file.

    ``shown``: the result goes through :func:`shown_as` before it is written as ``encoding``, so PNG is
    returned and scored. Raises :class:`ConfigError` where the file does not exist or the format cannot hold
    its result, before any network runs, and the errors that stop a whole run.
    """
    asked, encoding = encoding, "PNG" if shown else encoding
    if encoding == "JPEG" and any(step.asset == MATTED for step in steps(settings)):
        raise ConfigError(
            "expected a format with transparency for a cutout, got JPEG; give --background or --only-mask, "
            "or write PNG, WEBP or TIFF"
        )
    data = read_file(path)

    def check(asset: str, shard: str, row: ImageRow, computed: bool) -> None:
        if asset == RAW and row.status is Status.OK:
            _check_size(row, asked, settings)
            if encoding == "JPEG":
                _check_opaque(data, row, settings)
        on_row(asset, shard, row, computed)

    return process(data, str(path), settings, encoding, check)


def score_pictures(
    source: tuple[bytes, str], result: tuple[bytes, str], settings: Settings, model: str = ""
) -> tuple[dict[str, Any], bytes]:
    """quality.json's object and the encoded heat map for two files that exist already, each with its name.

    ``model``: what made the result, where that is known.
    """
    from imgpipe.quality.diff import diff_png
    from imgpipe.quality.document import Making, StoredPicture, Subject, build_document
    from imgpipe.quality.made_by import profile_of_files
    from imgpipe.quality.score import score

    decoder = source_decoder(settings.isolation, 1)
    before = decoder.decode(source[0], name=source[1], limits=settings.limits)
    after = decoder.decode(result[0], name=result[1], limits=settings.limits.for_own_files())
    profile, why = profile_of_files(before, after, settings.quality, model)
    report = score(before, after, settings=settings.quality.model_copy(update={"profile": profile}))
    stored = [
        StoredPicture(len(data), (picture.width, picture.height), hashlib.sha256(data).hexdigest())
        for (data, _), picture in ((source, before), (result, after))
    ]
    notes = (*before.notes, *(f"result: {note}" for note in after.notes))
    config_hash = hashlib.sha256(settings.quality.model_dump_json().encode()).hexdigest()
    document = build_document(
        report,
        Subject(source[1], notes=notes),
        stored[0],
        stored[1],
        Making(reference="source", config_hash=config_hash, profile_reason=why),
    )
    return document, diff_png(before, after, report.differences)


def shown_as(
    data: bytes, encoding: str, settings: Settings, *, only_mask: bool = False, background: str | None = None
) -> tuple[bytes, tuple[str, ...]]:
    """A finished picture as its mask, or on a colour or another picture, encoded again, and what was left out
    or done otherwise.

    ``background``: ``#rrggbb`` or the path of a picture; raises :class:`ConfigError` for anything else.
    """
    from imgpipe.images.decode import decode
    from imgpipe.images.encode import encode_fitting
    from imgpipe.matting.compose import composite_on, mask_of

    picture = decode(data, name="the result", limits=settings.limits.for_own_files())
    if only_mask:
        picture = mask_of(picture)
    elif background is not None and background.startswith("#"):
        picture = composite_on(picture, _colour(background))
    elif background is not None:
        decoder = source_decoder(settings.isolation, 1)
        behind = decoder.decode(read_file(Path(background)), name=background, limits=settings.limits)
        picture = composite_on(picture, behind)
    data, notes = encode_fitting(picture, encoding)
    return data, (*picture.notes, *notes)


def matte_errors_of(truth: Path, result: Path, settings: Settings) -> dict[str, float | None]:
    """The errors and scores of one file's matte against another's, by name."""
    from imgpipe.quality.truth import alpha_of, matte_truth

    decoder, limits = source_decoder(settings.isolation, 1), settings.limits.for_own_files()

    def alpha(path: Path) -> npt.NDArray[np.float32]:
        return alpha_of(decoder.decode(read_file(path), name=str(path), limits=limits), str(path))

    return matte_truth(alpha(truth), alpha(result))


def _colour(text: str) -> tuple[int, int, int]:
    digits = text.removeprefix("#")
    try:
        value = int(digits, 16) if len(digits) == 6 else -1
    except ValueError:
        value = -1
    if value < 0:
        raise ConfigError(f"--background: expected a colour as in #ffffff or a picture's file, got {text!r}")
    return value >> 16, value >> 8 & 255, value & 255


def _reviewed(
    row: ImageRow, rows: Mapping[str, ImageRow], store: MemoryStore, settings: Settings
) -> ImageRow:
    """The quality row and its quality.json with the configured reviewer's verdict."""
    reader = PictureReader(store, store, settings.limits, settings.isolation, settings.workers)
    upstream = {asset: {before.image_id: before} for asset, before in rows.items()}
    reviews = reviews_of(settings, reader, {row.image_id: row}, upstream, Decisions())
    reviewed = with_review(row, reviews.get(row.image_id), QUALITY)
    return row if reviewed is row else with_document(reviewed, store)


def _reencode(
    store: MemoryStore, rows: Mapping[str, ImageRow], encoding: str, settings: Settings
) -> dict[str, ImageRow]:
    from imgpipe.images.encode import encode_fitting

    asset, row = list(rows.items())[-1]
    picture = read_own_file(store, row.output_key, settings.limits)
    try:
        data, notes = encode_fitting(picture, encoding)
    except EncodeError as exc:
        raise EncodeError(f"{row.source_key}: {exc}") from exc
    store.write(row.output_key, data, overwrite=True)
    changed = replace(
        row,
        output_sha256=hashlib.sha256(data).hexdigest(),
        size_bytes=len(data),
        format=encoding,
        reasons=row.reasons + notes,
    )
    return {**rows, asset: changed}


def _check_size(row: ImageRow, encoding: str, settings: Settings) -> None:
    """Raise :class:`ConfigError` where the result will be too large for its format."""
    from imgpipe.enhancement.enhance import plan_size
    from imgpipe.images.encode import MAX_SIDES
    from imgpipe.upscaling.upscaler import TargetSize

    size = row.width, row.height
    for action in settings.actions:
        if action == "upscale":
            size = TargetSize.of(settings.upscale).size(*size)
        elif action == "enhance":
            size = plan_size(*size, settings.enhance)
    if max(size) > MAX_SIDES.get(encoding, max(size)):
        raise ConfigError(
            f"{row.source_key}: {row.width}x{row.height} px would become {size[0]}x{size[1]} px, expected at "
            f"most {MAX_SIDES[encoding]} px a side, which is all that {encoding} holds; enlarge it less, or "
            "write PNG or TIFF"
        )


def _check_opaque(data: bytes, row: ImageRow, settings: Settings) -> None:
    """Raise :class:`ConfigError` where a picture for a JPEG has an alpha that hides something."""
    if row.details["channels"] not in (2, 4):
        return
    decoder = source_decoder(settings.isolation, settings.workers)
    picture = decoder.decode(data, name=row.source_key, limits=settings.limits)
    if picture.alpha is not None and not (picture.alpha == picture.max_value).all():
        raise ConfigError(
            f"{row.source_key}: expected a picture without transparency for a JPEG; give --background or "
            "--only-mask, or write PNG, WEBP or TIFF"
        )


def read_file(path: Path) -> bytes:
    """Its bytes; raises :class:`ConfigError` where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as exc:
        raise ConfigError(f"{path}: expected a readable picture: {exc.strerror}") from exc


def write_file(path: Path, data: bytes) -> None:
    """Write it whole, whatever stood there; folders are made."""
    path = path.absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    LocalStore(path.parent).write(path.name, data, overwrite=True)
