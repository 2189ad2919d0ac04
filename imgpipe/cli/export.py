"""``export``: results under their sources' names."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from imgpipe.cli.common import (
    EXIT_IMAGES,
    EXIT_OK,
    Assignments,
    DatasetName,
    err,
    exits,
    out,
    results_settings,
)
from imgpipe.cli.console import escape
from imgpipe.engines.export import Choice, Links, Only, exported_assets
from imgpipe.engines.export import export as export_results
from imgpipe.images.file_formats import format_named
from imgpipe.names import counted
from imgpipe.stages.chain import steps
from imgpipe.storage.opening import open_store

_LISTED = 10


def _asset_of(what: str) -> str:
    assets = exported_assets()
    if what not in assets:
        raise typer.BadParameter(f"expected one of {', '.join(assets)}, got {what!r}")
    return assets[what]


@exits
def export(
    output: Annotated[str, typer.Argument(metavar="OUTPUT", help="Results of `run`: folder or s3://…")],
    target: Annotated[str, typer.Argument(metavar="TARGET", help="Where to export to: folder or s3://…")],
    what: Annotated[
        str | None,
        typer.Option(
            parser=_asset_of, metavar="STAGE", help="matted, upscaled, enhanced or fixed; default: the last."
        ),
    ] = None,
    only: Annotated[
        Only,
        typer.Option(help="Good by their scores; also those that a person accepted; or whatever there is."),
    ] = "accepted",
    file_format: Annotated[
        str, typer.Option("--format", help="png, webp, jpeg, tiff or jxl; default: as the results are.")
    ] = "",
    links: Annotated[Links, typer.Option(help="Links in place of copies, between folders.")] = "copy",
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove files of earlier exports that are not chosen any more.")
    ] = False,
    dataset: DatasetName = None,
    assignments: Assignments = None,
) -> None:
    """Copy the good results to TARGET, in the source's own folders and under its names.

    Only what is new or changed since the last export is written; files of others are never replaced.
    """
    kind = format_named(file_format) if file_format else ""
    settings, store = results_settings({"output": output, "dataset": dataset}, assignments)
    asset = what or steps(settings)[-2].asset
    place = open_store(target, settings.s3, create=True, follow_links="always")
    choice = Choice(settings.dataset, asset, only, kind, links, prune)
    with Progress(
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=out,
        transient=True,
        disable=not out.is_terminal,
    ) as bars:
        bar = bars.add_task("files", total=None)
        done = export_results(
            store,
            place,
            choice,
            settings.limits,
            lambda count, of: bars.update(bar, completed=count, total=of),
        )
    for failure in done.failed[:_LISTED]:
        err.print(f"[red]not exported:[/] {escape(failure)}")
    if len(done.failed) > _LISTED:
        err.print(f"... and {len(done.failed) - _LISTED} more")
    if done.unfinished:
        shards = counted(len(done.unfinished), "shard")
        err.print(
            f"[red]not exported:[/] {shards} without finished results or verdicts "
            f"({', '.join(done.unfinished[:_LISTED])}): run again"
            + ("; nothing was removed" if prune else "")
        )
    for note, count in done.notes.items():
        out.print(f"note: {count} x {escape(note)}")
    said = f"{done.written} written, {done.unchanged} unchanged, {done.left_out} left out"
    out.print(f"{escape(place.url)}: {said}" + (f", {done.removed} removed" if prune else ""))
    if done.outdated:
        out.print(f"{counted(done.outdated, 'file')} of earlier exports not chosen any more: --prune removes")
    raise typer.Exit(EXIT_IMAGES if done.failed or done.unfinished else EXIT_OK)
