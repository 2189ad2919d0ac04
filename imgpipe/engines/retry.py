"""Which earlier failures a run retries, and which images it may recompute.

    due      missing, changed and outdated images, and transient errors (the default)
    all      the same and every error (``imgpipe run``)
    failed   only images that ended in ``error`` or ``rejected``, even where others are outdated

An error is *permanent* where the image's own bytes are at fault: as long as these, the settings and the code
are the same, it is carried over and not computed again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from imgpipe.errors import ConfigError, ImageError
from imgpipe.records import ImageRow, Status
from imgpipe.storage.store import ImageStore
from imgpipe.storage.tables import read_intact_rows

#: Names of the error classes that a retry cannot cure.
PERMANENT = frozenset({ImageError.__name__, *(kind.__name__ for kind in ImageError.__subclasses__())})
#: Run tags that say which :class:`Retry` a run follows.
MODE_TAG, REASON_TAG = "imgpipe/retry", "imgpipe/retry_reason"


class Mode(StrEnum):
    """Which images a run computes."""

    DUE = "due"
    ALL = "all"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Retry:
    """``reason``: with mode ``failed``, only images whose error or reasons hold this text, in any case."""

    mode: Mode = Mode.DUE
    reason: str = ""

    def __post_init__(self) -> None:
        if self.reason and self.mode is not Mode.FAILED:
            raise ConfigError(f"reason: expected it with `failed` only, got {self.reason!r} with {self.mode}")

    @classmethod
    def from_tags(cls, tags: Mapping[str, str]) -> Retry:
        """What a run's tags ask for, ``due`` where they say nothing; raises :class:`ConfigError`."""
        said = tags.get(MODE_TAG, Mode.DUE)
        if said not in set(Mode):
            raise ConfigError(f"tag {MODE_TAG}: expected {', '.join(Mode)}, got {said!r}")
        return cls(Mode(said), tags.get(REASON_TAG, ""))

    def tags(self) -> dict[str, str]:
        """The run tags that :meth:`from_tags` reads back."""
        return {MODE_TAG: self.mode.value, **({REASON_TAG: self.reason} if self.reason else {})}

    def asks_for(self, row: ImageRow) -> bool:
        """Whether mode ``failed`` retries this failure."""
        if row.status not in (Status.ERROR, Status.REJECTED):
            return False
        said = (row.error_class, row.error_message, *row.reasons)
        return any(self.reason.lower() in text.lower() for text in said)

    def repeats(self, row: ImageRow) -> bool:
        """Whether an image's error is retried although its bytes, settings and code are the same."""
        return self.mode is not Mode.DUE or row.error_class not in PERMANENT

    def chosen(
        self, output: ImageStore, assets: list[str], dataset: str, shard: str
    ) -> frozenset[str] | None:
        """Ids of the images that may be recomputed; ``None`` for all.

        ``assets`` in chain order: the last one that has a table tells how each image ended.
        """
        if self.mode is not Mode.FAILED:
            return None
        for asset in reversed(assets):
            rows = read_intact_rows(output, asset, dataset, shard)
            if rows is not None:
                return frozenset(image_id for image_id, row in rows.items() if self.asks_for(row))
        return frozenset()


#: What sensors and schedules ask for.
DUE = Retry()


def may_pass(row: ImageRow, max_attempts: int) -> bool:
    """Whether an error is transient: not caused by the image, and below ``max_attempts``."""
    return row.status is Status.ERROR and row.error_class not in PERMANENT and row.attempts < max_attempts
