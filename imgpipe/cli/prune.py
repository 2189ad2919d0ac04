"""``prune``: removes the outputs of deleted sources."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.filesize import decimal

from imgpipe.cli.common import AllowDeletions, out
from imgpipe.cli.console import escape
from imgpipe.cli.summary import code_unless_damaged
from imgpipe.config import Settings
from imgpipe.engines.prune import leftovers
from imgpipe.names import counted
from imgpipe.storage.deletions import require_plausible
from imgpipe.storage.opening import open_stores
from imgpipe.storage.sealed import SealedShards

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
    sealed = SealedShards(stores.output, settings.dataset)
    found = list(leftovers(stores, sealed))
    sources = {leftover.source_key for leftover in found}
    if yes and not allow_deletions:
        require_plausible(
            len(sources),
            len(sources) + sealed.present,
            int(stores.source.any_key() is not None),
            max_share=settings.limits.max_deleted_share,
            source_url=stores.source.url,
            undone=("Nothing was removed", "`imgpipe prune --yes --allow-deletions`"),
        )
    for leftover in found[:_LISTED]:
        out.print(f"{escape(stores.output.uri(leftover.key))}  ({escape(leftover.source_key)})")
    if len(found) > _LISTED:
        out.print(f"... and {len(found) - _LISTED} more")
    for leftover in found if yes else ():
        stores.output.delete(leftover.key)
    size = decimal(sum(leftover.size_bytes for leftover in found))
    said = "removed" if yes else "to remove"
    out.print(f"{counted(len(found), 'file')} of {counted(len(sources), 'deleted source')}, {size} {said}")
    if found and not yes:
        out.print("nothing was removed: add --yes")
    return code_unless_damaged(sealed)
