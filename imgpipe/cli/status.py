"""``status``: every shard of a data set."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.box import SIMPLE
from rich.table import Table

from imgpipe.cli.common import EXIT_INFRASTRUCTURE, EXIT_OK, out, printing_to_stderr
from imgpipe.cli.console import escape
from imgpipe.cli.progress import in_words
from imgpipe.cli.summary import exit_code, print_counts, print_damage
from imgpipe.config import Settings
from imgpipe.engines.listing import ImageState, images_in
from imgpipe.engines.status import (
    ShardStatus,
    State,
    fingerprints,
    images_left,
    seconds_left,
    shard_statuses,
    totals,
)
from imgpipe.errors import WeightsMissing
from imgpipe.names import counted
from imgpipe.records import Status
from imgpipe.storage.opening import Stores, open_stores

#: Of more shards only the worst are shown.
_SHOWN = 20


def status(
    settings: Settings,
    state: Annotated[
        ImageState | None,
        typer.Option(help="List the images in this state with their reasons; no shards."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object, or list; everything else on stderr.")
    ] = False,
) -> int:
    """Show the shards with their counts, the assets that are stale, failed or missing, and what is left."""
    stores = open_stores(settings)
    if state is not None:
        return _list_images(settings, stores, state, as_json=as_json)
    if as_json:
        with printing_to_stderr():
            code, found = _show(settings, stores)
        typer.echo(json.dumps(found, indent=2))
        return code
    return _show(settings, stores)[0]


def _show(settings: Settings, stores: Stores) -> tuple[int, dict[str, Any]]:
    """Print everything; returns the exit code and the same as JSON's object."""
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
        out.print(f"{counted(deleted, 'deleted source')}: outputs are kept until `imgpipe prune`")
    counts, causes = totals(statuses)
    print_counts(counts, causes)
    left = _left(settings, statuses, compared=wanted is not None)
    _print_left(left)
    stopped = print_damage(statuses)
    code = EXIT_INFRASTRUCTURE if stopped else exit_code(counts)
    found = {
        "dataset": settings.dataset,
        "output": stores.output.url,
        "compared": wanted is not None,
        "counts": counts,
        "causes": causes,
        "left": left,
        "shards": [{**asdict(one), "state": one.state} for one in statuses],
        "exit_code": code,
    }
    return code, found


def _list_images(settings: Settings, stores: Stores, state: ImageState, *, as_json: bool) -> int:
    listed = images_in(settings, stores.output, state)
    if as_json:
        typer.echo(json.dumps([asdict(one) for one in listed], indent=2))
        return EXIT_OK
    for one in listed:
        out.print(escape(one.source) + (f": {escape(one.why)}" if one.why else ""))
    return EXIT_OK


def print_statuses(settings: Settings, statuses: Sequence[ShardStatus], *, compared: bool) -> None:
    """One line per shard, of many the worst; assets are named where they are not complete.

    Without ``compared`` to settings and models nothing is complete for certain.
    """
    table = Table(title=f"data set {settings.dataset}", box=SIMPLE)
    for name in ("shard", "images", *Status):
        table.add_column(str(name), justify="right", no_wrap=True)
    table.add_column("state", overflow="fold")
    for status_ in _worst(statuses):
        table.add_row(
            status_.shard,
            str(status_.images),
            *(str(status_.counts.get(name.value, "-")) for name in Status),
            (status_.stopped and f"[red]stopped: {escape(status_.stopped)}[/]")
            or ", ".join(_unfinished(status_))
            or ("[green]complete[/]" if compared else "[yellow]unknown[/]"),
        )
    out.print(table)
    if not statuses:
        out.print("no shards yet: `imgpipe plan` or `imgpipe run` seals them")
    if len(statuses) > _SHOWN:
        complete = sum(one.state is State.COMPLETE for one in statuses)
        out.print(f"the worst {_SHOWN} of {len(statuses):,} shards, {complete:,} are complete; --json: all")


def _worst(statuses: Sequence[ShardStatus]) -> Sequence[ShardStatus]:
    """All where they are few; else stopped and least finished ones first, with the most bad images."""
    if len(statuses) <= _SHOWN:
        return statuses

    def rank(one: ShardStatus) -> tuple[bool, int, int]:
        bad = one.counts.get("error", 0) + one.counts.get("rejected", 0)
        return not one.stopped, list(State).index(one.state), -bad

    return sorted(statuses, key=rank)[:_SHOWN]


def _unfinished(status_: ShardStatus) -> list[str]:
    """The assets that are not complete, in words and colour."""
    colours = {State.FAILED: "red", State.STALE: "yellow", State.MISSING: "dim"}
    losses = {asset: f" ({counted(count, 'file')} gone or cut)" for asset, count in status_.lost.items()}
    return [
        f"[{colours[state]}]{asset} {state.value}[/]{losses.get(asset, '')}"
        for asset, state in status_.states.items()
        if state is not State.COMPLETE
    ]


def _left(settings: Settings, statuses: Sequence[ShardStatus], *, compared: bool) -> dict[str, Any]:
    """Shards that are not complete, images to be computed there, seconds and cost; ``None``: unknown."""
    pending = [one for one in statuses if one.pending]
    images = sum(max(images_left(one, asset) for asset in one.states) for one in pending)
    seconds = seconds_left(settings, statuses) if compared else None
    price = settings.cost.price_per_hour
    return {
        "shards": len(pending),
        "images": images,
        "seconds": seconds,
        "cost": None if seconds is None or price is None else round(seconds / 3600 * price, 2),
        "currency": settings.cost.currency,
    }


def _print_left(left: Mapping[str, Any]) -> None:
    if not left["shards"]:
        return
    about = "unknown" if left["seconds"] is None else f"about {in_words(left['seconds'])}"
    cost = "" if left["cost"] is None else f", {left['cost']:.2f} {left['currency']}"
    out.print(
        f"to do: {counted(left['shards'], 'shard')} with {counted(left['images'], 'image')}; "
        f"time left on this machine: {about}{cost}"
    )
