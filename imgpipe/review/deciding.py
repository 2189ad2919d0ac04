"""Checks decisions against the tables and records them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from imgpipe.errors import ConfigError
from imgpipe.records import ImageRow, Status
from imgpipe.review.book import record
from imgpipe.review.decisions import Decision, Verdict
from imgpipe.review.queue import QueueItem
from imgpipe.settings import IsolationSettings, LimitSettings
from imgpipe.storage import keys
from imgpipe.storage.store import ImageStore

if TYPE_CHECKING:
    from imgpipe.images.image import Image

#: Proportions of an enlargement may differ from its input's by this share, from rounding to whole pixels.
_PROPORTION_SLACK = 0.01


@dataclass(frozen=True, slots=True)
class Place:
    """Requirements on a replacement: some pixels are transparent; it has the size of the input."""

    cut_out: bool
    same_size: bool


@dataclass(frozen=True, slots=True)
class Decider:
    """Records the decisions of one person in ``output``.

    ``places``: the assets whose pictures can be replaced. ``limits``, ``isolation``: how their
    replacements are decoded.
    """

    output: ImageStore
    name: str
    places: Mapping[str, Place]
    limits: LimitSettings
    isolation: IsolationSettings

    def accept(self, item: QueueItem, note: str = "") -> Decision:
        """Accept the result; raises :class:`ConfigError` where the image ended in an error."""
        if item.final.status is Status.ERROR:
            raise ConfigError(
                f"{item.source_key}: {item.asset} ended in an error, so there is no result to accept "
                f"({'; '.join(item.reasons)}); provide a picture with `imgpipe review replace`, repair the "
                "source, or take it off the list with `imgpipe review reject`"
            )
        return self._decide(item, Verdict.ACCEPTED, note)

    def reject(self, item: QueueItem, note: str = "") -> Decision:
        """Reject the result; for an error: mark it as seen."""
        return self._decide(item, Verdict.REJECTED, note)

    def withdraw(self, item: QueueItem, note: str = "") -> list[Decision]:
        """Withdraw the decisions in force for this image; raises :class:`ConfigError` if there are none."""
        holding = [asset for asset in item.rows if item.holding(asset)]
        if not holding:
            raise ConfigError(
                f"{item.source_key}: no decision is in force for its current result; nothing to withdraw"
            )
        return [self._record(item, asset, Verdict.WITHDRAWN, note) for asset in holding]

    def replace(
        self,
        item: QueueItem,
        data: bytes,
        *,
        name: str,
        asset: str | None = None,
        note: str = "",
    ) -> Decision:
        """Replace the output of ``asset`` (default: the asset that rejected or failed the image).

        ``data``: a file of any format that sources may have, ``name``: its name in messages. Raises
        :class:`ImageError` where it cannot be decoded, :class:`ConfigError` where it is no valid replacement.
        """
        from imgpipe.images.decoder import source_decoder
        from imgpipe.images.sniff import sniff

        asset = asset or self._stopped_at(item)
        before = self._input_of(item, asset)
        picture = source_decoder(self.isolation, 1).decode(data, name=name, limits=self.limits)
        check_replacement(picture, before, self.places[asset], name)
        return self._record(item, asset, Verdict.REPLACED, note, data, sniff(data, name).lower())

    def _decide(self, item: QueueItem, verdict: Verdict, note: str) -> Decision:
        if item.final.status is Status.SKIPPED or not item.subject(item.asset):
            raise ConfigError(
                f"{item.source_key}: {item.asset} has no result here (status {item.final.status.value}); "
                "only results and errors can be decided about"
            )
        return self._record(item, item.asset, verdict, note)

    def _stopped_at(self, item: QueueItem) -> str:
        possible = [asset for asset in item.rows if asset in self.places]
        if item.asset in possible:
            return item.asset
        if item.asset != list(item.rows)[-1] or not possible:
            raise ConfigError(
                f"{item.source_key}: it was stopped at {item.asset}, whose output cannot be replaced "
                f"({'; '.join(item.reasons)}); repair the source {item.source_key} instead"
            )
        return possible[-1]

    def _input_of(self, item: QueueItem, asset: str) -> ImageRow:
        if asset not in item.rows or asset not in self.places:
            possible = ", ".join(name for name in item.rows if name in self.places)
            raise ConfigError(f"{item.source_key}: {asset} cannot be replaced; possible here: {possible}")
        before = item.before(asset)
        if before is None or before.status is not Status.OK:
            why = "is missing" if before is None else f"is {before.status.value}"
            raise ConfigError(
                f"{item.source_key}: a replacement for {asset} would not be used, because its input {why}; "
                f"decide about the earlier stage first"
            )
        return before

    def _record(
        self,
        item: QueueItem,
        asset: str,
        verdict: Verdict,
        note: str,
        file: bytes | None = None,
        extension: str = "",
    ) -> Decision:
        """``file``, ``extension``: the replacement and the extension of its format."""
        before, history = item.before(asset), item.histories.get(asset, ())
        number = history[-1].number + 1 if history else 1
        file_key = sha256 = ""
        if file is not None:
            sha256 = hashlib.sha256(file).hexdigest()
            file_key = keys.handed_in_key(
                item.dataset, asset, item.shard, item.image_id, number, sha256, extension
            )
        decision = Decision(
            dataset=item.dataset,
            asset=asset,
            shard=item.shard,
            image_id=item.image_id,
            number=number,
            verdict=verdict,
            by=self.name,
            at=datetime.now(UTC).isoformat(timespec="seconds"),
            input_sha256="" if before is None else before.output_sha256,
            output_sha256=item.subject(asset),
            note=note,
            reasons=item.reasons,
            file_key=file_key,
            file_sha256=sha256,
        )
        record(self.output, decision, file)
        return decision


def check_replacement(picture: Image, before: ImageRow, place: Place, name: str) -> None:
    """Raises :class:`ConfigError` if a picture cannot replace a stage's output for the input ``before``."""
    if place.same_size and (picture.width, picture.height) != (before.width, before.height):
        raise ConfigError(
            f"{name}: expected {before.width}x{before.height} px, the size of the picture that was cut out, "
            f"got {picture.width}x{picture.height}"
        )
    proportions = picture.width * before.height / (picture.height * before.width)
    if abs(proportions - 1) > _PROPORTION_SLACK or picture.width < before.width:
        raise ConfigError(
            f"{name}: expected an enlargement of {before.width}x{before.height} px in the same proportions, "
            f"got {picture.width}x{picture.height}"
        )
    if place.cut_out and (picture.alpha is None or int(picture.alpha.min()) == picture.max_value):
        raise ConfigError(
            f"{name}: expected a cutout, but nothing in it is transparent; save it with its alpha channel"
        )
