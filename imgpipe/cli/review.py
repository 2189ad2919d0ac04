"""``review``: the queue of images that need a decision."""

from __future__ import annotations

import getpass
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.box import SIMPLE
from rich.measure import Measurement
from rich.table import Table

from imgpipe.cli.common import (
    EXIT_OK,
    Assignments,
    OutputUrl,
    SourceUrl,
    out,
    results_settings,
    with_options,
)
from imgpipe.cli.console import escape
from imgpipe.config import Settings
from imgpipe.engines.review import replaceable_places
from imgpipe.errors import ConfigError
from imgpipe.review.deciding import Decider
from imgpipe.review.decisions import Decision
from imgpipe.review.queue import QueueItem, State, find_image, read_queue
from imgpipe.stages.catalogue import CATALOGUE
from imgpipe.stages.chain import steps
from imgpipe.storage.store import ImageStore

app = typer.Typer(no_args_is_help=True, help="Review images that were rejected or failed.")


def _replaceable() -> dict[str, str]:
    """Folder -> asset of the actions whose pictures can be replaced."""
    return {row.folder: row.asset for row in CATALOGUE.values() if row.replaceable}


Config = Annotated[Path | None, typer.Option(help="YAML file; default: as for `run`, else the last run's.")]
Dataset = Annotated[str | None, typer.Option(help="Name of the data set.")]
Note = Annotated[str, typer.Option("--note", help="Why; kept in the image's history.")]
Run = Annotated[bool, typer.Option("--run", help="Run the data set afterwards.")]
#: How an image is named.
_AS_LISTED = "Path below the source, as in `review list`, or image_id."
Images = Annotated[list[str], typer.Argument(metavar="IMAGE...", help=_AS_LISTED)]


@dataclass(frozen=True, slots=True)
class _Context:
    """Shared by the commands: settings, the opened output, the names of the tables."""

    settings: Settings
    output: ImageStore
    assets: tuple[str, ...]

    def find(self, name: str) -> QueueItem:
        return find_image(self.output, self.settings.dataset, self.assets, name)

    def decider(self) -> Decider:
        settings = self.settings
        places, limits = replaceable_places(settings), settings.limits.for_own_files()
        return Decider(self.output, _user(settings), places, limits, settings.isolation)


def list_queue(
    context: _Context,
    reason: Annotated[str | None, typer.Option(help="Only where a reason holds this text.")] = None,
    status: Annotated[
        Literal["rejected", "error"] | None, typer.Option(help="Only rejected images, or only errors.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Decided images too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON list.")] = False,
) -> int:
    """List the images that wait for a decision, with their reasons."""
    queue = read_queue(context.output, context.settings.dataset, context.assets, everything=everything)
    items = [
        item
        for item in queue
        if (status is None or item.final.status.value == status)
        and (reason is None or any(reason.lower() in text.lower() for text in item.reasons))
    ]
    if as_json:
        typer.echo(json.dumps([item.as_dict() for item in items], indent=2))
    else:
        _print_queue(items, context.settings.dataset)
    return EXIT_OK


def accept(context: _Context, images: Images, note: Note = "", run: Run = False) -> int:
    """Accept the result: the next run continues with it. Valid until the result changes."""
    return _decide(context, images, lambda who, item: [who.accept(item, note)], run)


def reject(context: _Context, images: Images, note: Note = "", run: Run = False) -> int:
    """Reject the result, also where its scores are good, and remove it from the list."""
    return _decide(context, images, lambda who, item: [who.reject(item, note)], run)


def withdraw(context: _Context, images: Images, note: Note = "", run: Run = False) -> int:
    """Withdraw decisions: the next run processes and judges these images automatically again."""
    return _decide(context, images, lambda who, item: who.withdraw(item, note), run)


def _replaceable_asset(folder: str) -> str:
    assets = _replaceable()
    if folder not in assets:
        raise typer.BadParameter(f"expected one of {', '.join(assets)}, got {folder!r}")
    return assets[folder]


def replace(
    context: _Context,
    image: Annotated[str, typer.Argument(metavar="IMAGE", help=_AS_LISTED)],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Corrected picture.")],
    stage: Annotated[
        str | None,
        typer.Option(
            parser=_replaceable_asset,
            metavar=f"[{'|'.join(_replaceable())}]",
            help="Stage whose output it replaces; default: the one that rejected or failed it.",
        ),
    ] = None,
    note: Note = "",
    run: Run = False,
) -> int:
    """Replace a stage's output by a corrected picture; the next run continues from it."""
    data = _read(file)

    def put(who: Decider, item: QueueItem) -> list[Decision]:
        return [who.replace(item, data, name=str(file), asset=stage, note=note)]

    return _decide(context, [image], put, run)


def _decide(
    context: _Context,
    images: list[str],
    decide: Callable[[Decider, QueueItem], list[Decision]],
    run_now: bool,
) -> int:
    """Find all images before the first decision is written."""
    who = context.decider()
    found = [context.find(name) for name in dict.fromkeys(images)]
    for item in {one.image_id: one for one in found}.values():
        for decision in decide(who, item):
            out.print(f"{escape(item.source_key)}: {escape(decision.said)} ({decision.asset})")
    if run_now:
        from imgpipe.cli.run import run

        return run(context.settings)
    out.print("takes effect with the next `imgpipe run`, for these images only")
    return EXIT_OK


def _context(
    source: SourceUrl = None,
    output: OutputUrl = None,
    config: Config = None,
    dataset: Dataset = None,
    assignments: Assignments = None,
) -> _Context:
    given = {"source": source, "output": output, "dataset": dataset}
    settings, store = results_settings(given, assignments, config)
    return _Context(settings, store, tuple(step.asset for step in steps(settings)))


def _user(settings: Settings) -> str:
    if settings.review.user:
        return settings.review.user
    try:
        return getpass.getuser()
    except (OSError, KeyError) as exc:  # A container without an entry for its user.
        raise ConfigError("review.user: this machine has no login name; --set review.user=NAME") from exc


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise ConfigError(f"{path}: expected a readable picture: {exc}") from exc


def _full_width(table: Table) -> int:
    """Width in columns of the table without wrapping, for output to a pipe or a file."""
    return Measurement.get(out, out.options.update(max_width=10_000), table).maximum


def _print_queue(items: list[QueueItem], dataset: str) -> None:
    table = Table(title=f"review queue of {dataset}", box=SIMPLE)
    for name in ("image", "status", "stopped at", "state", "why"):
        table.add_column(name, overflow="fold", no_wrap=name in ("status", "stopped at"))
    colours = {State.WAITING: "yellow", State.PENDING: "cyan", State.DECIDED: "dim"}
    for item in items:
        said = [*item.reasons]
        if item.state is not State.WAITING:
            said.append(item.history[-1].said)
        elif item.outdated is not None:
            said.append(f"the result has changed since it was {item.outdated.said}")
        table.add_row(
            escape(item.source_key),
            item.final.status.value,
            item.asset,
            f"[{colours[item.state]}]{item.state.value}[/]",
            escape("; ".join(said)),
        )
    if items:
        table.width = None if out.is_terminal else _full_width(table)
        out.print(table)
    waiting = sum(item.state is State.WAITING for item in items)
    pending = sum(item.state is State.PENDING for item in items)
    out.print(f"{waiting} waiting, {pending} decided and waiting for the next run")


for _name, _action in (
    *(("list", list_queue), ("accept", accept), ("reject", reject)),
    *(("withdraw", withdraw), ("replace", replace)),
):
    app.command(_name)(with_options(_context, _action))
