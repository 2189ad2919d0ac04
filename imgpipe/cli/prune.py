"""``prune``: removes the outputs of deleted sources."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.filesize import decimal

from imgpipe.cli.common import (
    EXIT_OK,
    AllowDeletions,
    Assignments,
    ConfigFile,
    DatasetName,
    OutputUrl,
    SourceUrl,
    dataset_settings,
    exits,
    out,
)
from imgpipe.cli.console import escape
from imgpipe.cli.plan import open_stores
from imgpipe.engines.prune import leftovers, require_few_leftovers

_LISTED = 20


@exits
def prune(
    source: SourceUrl = None,
    output: OutputUrl = None,
    config: ConfigFile = None,
    dataset: DatasetName = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Remove the files; without it they are only listed.")
    ] = False,
    allow_deletions: AllowDeletions = False,
    assignments: Assignments = None,
) -> None:
    """List, and with --yes remove, the outputs of sources that were deleted. Tables keep their rows."""
    settings = dataset_settings({"source": source, "output": output, "dataset": dataset}, assignments, config)
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
    raise typer.Exit(EXIT_OK)
