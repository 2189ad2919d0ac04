"""Which assets there are, in which order, and what each reads: all of it follows from ``actions``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from imgpipe.config import Settings
from imgpipe.stages.catalogue import CATALOGUE, Action, Roles
from imgpipe.storage import keys

REPORT = "dataset_report"


@dataclass(frozen=True, slots=True)
class Step:
    """One partitioned asset.

    ``roles``: what the stage is given, role -> asset whose main picture it is. ``upstream``: the
    assets whose tables must exist first, in chain order; the last is the direct predecessor.
    """

    action: Action
    roles: Roles
    upstream: tuple[str, ...]

    @property
    def asset(self) -> str:
        return self.action.asset

    def key(self, dataset: str, shard: str, image_id: str, kind: str, extension: str = "png") -> str:
        """Key of a file of this kind of one image; kinds of several files are whole file names."""
        if self.action.own_folder:
            return keys.file_key(self.action.folder, dataset, shard, image_id, kind)
        return keys.image_key(self.action.folder, dataset, shard, image_id, extension)


def steps(settings: Settings) -> tuple[Step, ...]:
    """Reading, one step per action in the configured order, scoring."""
    return chain_of(settings.actions)


def chain_of(actions: Sequence[str]) -> tuple[Step, ...]:
    """The steps of these actions, with reading before and scoring after them."""
    rows = [CATALOGUE[name] for name in ("read", *actions, "score")]
    return tuple(
        Step(row, row.roles(rows[:place]), tuple(above.asset for above in rows[:place]))
        for place, row in enumerate(rows)
    )
