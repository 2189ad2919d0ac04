"""What counts as a deletion: no source that is there, and not so many that the whole source may be away, as
with an unmounted folder or a mistyped prefix."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from imgpipe.errors import ConfigError
from imgpipe.storage.store import ImageStore

#: Sources that one scan asks the store about.
MOST = 5_000
_ASKERS = 16

#: What a plan has not done, and how it is told to.
_OF_A_PLAN = (
    "Nothing was marked as deleted",
    "`imgpipe run --allow-deletions` or `imgpipe plan --allow-deletions`",
)


class DeletionCheck:
    """Asks the store about sources that a listing lacks: a part of a listing may pass over some.

    ``there``: how many it has nevertheless; ``unchecked``: how many were left for a later scan, which are
    not taken for deleted.
    """

    def __init__(self, source: ImageStore) -> None:
        self._source = source
        self._asked = self.there = self.unchecked = 0

    def __call__(self, keys: Sequence[str]) -> set[str]:
        """Those of them that are deleted."""
        asked = keys[: MOST - self._asked]
        self._asked += len(asked)
        self.unchecked += len(keys) - len(asked)
        with ThreadPoolExecutor(_ASKERS, thread_name_prefix="deletions") as pool:
            there = list(pool.map(self._source.exists, asked))
        self.there += sum(there)
        return {key for key, found in zip(asked, there, strict=True) if not found}


def require_plausible(
    deleted: int,
    present: int,
    listed: int,
    *,
    max_share: float,
    source_url: str,
    undone: tuple[str, str] = _OF_A_PLAN,
) -> None:
    """Raise :class:`ConfigError` where nothing was ``listed``, or more than ``max_share`` (0..1) is gone.

    ``deleted``: sources that are gone now; ``present``: sources that were there before, those included. A
    ``max_share`` of 1 allows everything, an empty source included.
    """
    if not deleted or max_share >= 1 or (listed and deleted <= max_share * present + 1e-9):
        return
    found = "" if listed else ", nothing at all is there"
    raise ConfigError(
        f"{source_url}: {deleted} of {present} sources of this data set are gone{found}; expected at most "
        f"{max_share:.0%} (limits.max_deleted_share). {undone[0]}. Is the folder mounted and the address "
        f"right? If they were deleted on purpose, say so once: {undone[1]}"
    )
