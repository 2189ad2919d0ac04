"""``status``: every shard of a data set."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE
from rich.table import Table

from imgpipe.cli.common import EXIT_INFRASTRUCTURE, out
from imgpipe.cli.console import escape
from imgpipe.cli.summary import exit_code, print_counts, print_damage
from imgpipe.config import Settings
from imgpipe.engines.status import ShardStatus, State, fingerprints, shard_statuses, totals
from imgpipe.errors import WeightsMissing
from imgpipe.records import Status
from imgpipe.storage.opening import open_stores


def status(settings: Settings) -> int:
    """Show every shard with its counts and the assets that are stale, failed or missing."""
    stores = open_stores(settings)
    wanted: dict[str, str] | None
    try:
        wanted = fingerprints(settings)
    except WeightsMissing as exc:
        wanted = None
        out.print(f"[yellow]settings and models are not compared:[/] {escape(str(exc))}")
    statuses = list(shard_statuses(settings, stores, wanted, outputs=True))
    print_statuses(settings, statuses, compared=wanted is not None)
    deleted = sum(status.deleted for status in statuses)
    if deleted:
        out.print(f"{deleted} sources were deleted; their outputs are kept until `imgpipe prune`")
    counts, causes = totals(statuses)
    print_counts(counts, causes)
    stopped = print_damage(statuses)
    return EXIT_INFRASTRUCTURE if stopped else exit_code(counts)


def print_statuses(settings: Settings, statuses: Sequence[ShardStatus], *, compared: bool) -> None:
    """One line per shard; assets are named where they are not complete.

    Without ``compared`` to settings and models nothing is complete for certain.
    """
    table = Table(title=f"data set {settings.dataset}", box=SIMPLE)
    for name in ("shard", "images", *Status):
        table.add_column(str(name), justify="right", no_wrap=True)
    table.add_column("state", overflow="fold")
    colours = {State.COMPLETE: "green", State.FAILED: "red", State.STALE: "yellow", State.MISSING: "dim"}
    for status_ in statuses:
        losses = {asset: f" ({count} files gone or cut)" for asset, count in status_.lost.items()}
        unfinished = [
            f"[{colours[state]}]{asset} {state.value}[/]{losses.get(asset, '')}"
            for asset, state in status_.states.items()
            if state is not State.COMPLETE
        ]
        table.add_row(
            status_.shard,
            str(status_.images),
            *(str(status_.counts.get(name.value, "-")) for name in Status),
            (status_.stopped and f"[red]stopped: {escape(status_.stopped)}[/]")
            or ", ".join(unfinished)
            or ("[green]complete[/]" if compared else "[yellow]unknown[/]"),
        )
    out.print(table)
    if not statuses:
        out.print("no shards yet: `imgpipe plan` or `imgpipe run` seals them")
