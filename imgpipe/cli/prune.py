"""``prune``: removes the outputs of deleted sources."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.filesize import decimal

from imgpipe.cli.common import EXIT_OK, AllowDeletions, out
from imgpipe.cli.console import escape
from imgpipe.config import Settings
from imgpipe.engines.prune import leftovers, require_few_leftovers
from imgpipe.storage.opening import open_stores

_LISTED = 20


def prune(
    settings: Settings,
    yes: Annotated[
        bool, typer.Option("--yes", help="Remove the files; without it they are only listed.")
    ] = False,
    allow_deletions: AllowDeletions = False,
) -> int:
    """List, and with --yes remove, the outputs of sources that were deleted. Tables keep their rows."""
    stores = open_stores(settings)
    if yes and not allow_deletions:
        require_few_leftovers(stores, settings.dataset, settings.limits.max_deleted_share)
    files = size_bytes = 0
    sources: set[str] = set()
    for leftover in leftovers(stores, settings.dataset):
        files += 1
        size_bytes += leftover.size_bytes
        sources.add(leftover.source_key)
        if files <= _LISTED:
            out.print(f"{escape(stores.output.uri(leftover.key))}  ({escape(leftover.source_key)})")
        if yes:
            stores.output.delete(leftover.key)
    if files > _LISTED:
        out.print(f"... and {files - _LISTED} more")
    said = "removed" if yes else "to remove"
    out.print(f"{files} files of {len(sources)} deleted sources, {decimal(size_bytes)} {said}")
    if files and not yes:
        out.print("nothing was removed: add --yes")
    return EXIT_OK
