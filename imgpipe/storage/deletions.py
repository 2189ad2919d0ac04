"""Refuses deletions that look like a source that is not there: an unmounted folder, a mistyped prefix."""

from __future__ import annotations

from imgpipe.errors import ConfigError

#: What a plan has not done, and how it is told to.
_OF_A_PLAN = (
    "Nothing was marked as deleted",
    "`imgpipe run --allow-deletions` or `imgpipe plan --allow-deletions`",
)


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
