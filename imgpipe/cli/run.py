"""``run``, ``status`` and ``report``: a whole data set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from imgpipe.cli.common import (
    EXIT_IMAGES,
    EXIT_INFRASTRUCTURE,
    EXIT_OK,
    AllowDeletions,
    Assignments,
    ConfigFile,
    DatasetName,
    EngineName,
    OutputUrl,
    ShardSize,
    SourceMoved,
    SourceUrl,
    dataset_settings,
    err,
    exits,
    out,
)
from imgpipe.cli.console import escape
from imgpipe.cli.plan import NOTHING, Allowed, open_stores, seal_plan
from imgpipe.config import Settings
from imgpipe.engines.rejections import causes_in_words
from imgpipe.engines.retry import Mode, Retry
from imgpipe.engines.shard import RowListener, Stores
from imgpipe.engines.status import (
    ShardStatus,
    State,
    fingerprints,
    shard_statuses,
    total_causes,
    total_counts,
)
from imgpipe.errors import ConfigError, ObjectChanged, ObjectMissing, ObjectUnreadable, WeightsMissing
from imgpipe.records import ImageRow, Status
from imgpipe.review.build import require_reviewer
from imgpipe.stages.build import warm_up
from imgpipe.stages.chain import steps
from imgpipe.stages.start import starting
from imgpipe.storage import keys
from imgpipe.storage.manifests import list_shards

if TYPE_CHECKING:
    from dagster import AssetCheckEvaluation


#: A run that a person starts retries every error.
EVERYTHING = Retry(Mode.ALL)


class Only(StrEnum):
    """Values of ``run --only``."""

    FAILED = "failed"


@exits
def run_command(
    source: SourceUrl = None,
    output: OutputUrl = None,
    config: ConfigFile = None,
    dataset: DatasetName = None,
    shard_size: ShardSize = None,
    engine: EngineName = None,
    only: Annotated[
        Only | None, typer.Option(help="Only images that failed or were rejected; all others are kept.")
    ] = None,
    reason: Annotated[
        str, typer.Option(help="With --only failed: only images whose error or reasons hold this text.")
    ] = "",
    allow_deletions: AllowDeletions = False,
    source_moved: SourceMoved = False,
    assignments: Assignments = None,
) -> None:
    """Plan, materialize every shard that is missing, out of date or has failed rows, and report."""
    given = {
        "source": source,
        "output": output,
        "dataset": dataset,
        "shard_size": shard_size,
        "engine": engine,
    }
    if reason and only is None:
        raise ConfigError("--reason: chooses among failed images; expected --only failed with it")
    settings = dataset_settings(given, assignments, config)
    retry = EVERYTHING if only is None else Retry(Mode.FAILED, reason)
    raise typer.Exit(run(settings, retry, Allowed(allow_deletions, source_moved)))


def run(settings: Settings, retry: Retry = EVERYTHING, allowed: Allowed = NOTHING) -> int:
    """Bring the data set up to date and build its report; returns the exit code."""
    outcome = materialize_pending(settings, retry, allowed)
    stores = open_stores(settings)
    print_checks(outcome.evaluations)
    statuses = list(shard_statuses(settings, stores, None))
    counts = total_counts(statuses)
    print_counts(counts, total_causes(statuses))
    print_report_place(settings, stores)
    for problem in outcome.stopped:
        err.print(f"[bold red]not done[/]: {escape(problem)}")
    return EXIT_INFRASTRUCTURE if outcome.stopped else _exit_code(counts)


@dataclass(slots=True)
class Outcome:
    """Check results of a run, and what stopped the planning or single shards; the others were done."""

    evaluations: list[AssetCheckEvaluation] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)


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
    print_statuses(settings, statuses)
    deleted = sum(status.deleted for status in statuses)
    if deleted:
        out.print(f"{deleted} sources were deleted; their outputs are kept until `imgpipe prune`")
    counts = total_counts(statuses)
    print_counts(counts, total_causes(statuses))
    stopped = print_damage(statuses)
    return EXIT_INFRASTRUCTURE if stopped else _exit_code(counts)


def report(settings: Settings) -> int:
    """Build the data set's report from the existing tables."""
    from imgpipe.automation.report import report_tags
    from imgpipe.launch import Launcher, open_instance

    stores = open_stores(settings)
    if not list_shards(stores.output, settings.dataset):
        raise ConfigError(
            f"{stores.output.url}: no shard of data set {settings.dataset!r} is sealed here, so there is "
            "nothing to report; check the output and the data set's name, or start with `imgpipe run`"
        )
    with open_instance() as instance:
        Launcher(settings, instance).run_report(report_tags(stores.output, settings))
    print_report_place(settings, stores)
    return EXIT_OK


def materialize_pending(settings: Settings, retry: Retry = EVERYTHING, allowed: Allowed = NOTHING) -> Outcome:
    """Plan, seal and bring every pending shard up to date; a damaged file stops its shard alone.

    With a ``retry`` of failed images only, nothing is planned: new and changed sources are not considered.
    """
    # What is missing is reported before anything is listed or written.
    wanted = fingerprints(settings)
    require_reviewer(settings.review)
    with starting():
        from imgpipe.launch import check_instance  # takes seconds: Dagster
    check_instance()
    outcome = Outcome()
    if retry.mode is not Mode.FAILED:
        try:
            seal_plan(settings, allowed)
        except ObjectUnreadable as exc:
            outcome.stopped.append(f"planning: {exc}")
    stores = open_stores(settings)
    statuses = list(shard_statuses(settings, stores, wanted, outputs=True))
    outcome.stopped += print_damage(statuses)
    pending = [status for status in statuses if _is_due(status, retry, settings, stores)]
    # A shard of failed images may not need a network.
    if any(status.state is not State.FAILED for status in pending):
        warm_up(settings)
    with starting():
        from imgpipe.automation.report import is_reported, report_tags
        from imgpipe.launch import Launcher, open_instance, remember_settings
        from imgpipe.partitions import add_partitions
        from imgpipe.resources.runs import end_dead_runs

    with open_instance() as instance:
        home = remember_settings(settings).parent
        for ended in end_dead_runs(instance):
            err.print(escape(ended))
        out.print(f"Dagster instance: {escape(str(home))} (open it with `imgpipe ui`)")
        add_partitions(settings, instance, [status.shard for status in statuses])
        out.print(f"{len(pending)} of {len(statuses)} shards to do")
        with row_progress(settings, pending) as on_row:
            launcher = Launcher(settings, instance, on_row, say=lambda text: err.print(escape(text)))
            for shard_status in pending:
                try:
                    outcome.evaluations.extend(launcher.run_shard(shard_status.shard, retry))
                except (ObjectMissing, ObjectChanged, ObjectUnreadable) as exc:
                    outcome.stopped.append(f"shard {shard_status.shard}: {exc}")
        usable = any(not status.stopped for status in statuses)
        page = keys.report_key(settings.dataset, "index.html")
        tags = report_tags(stores.output, settings)
        if usable and not (stores.output.exists(page) and is_reported(instance, tags)):
            launcher.run_report(tags)
    return outcome


def print_damage(statuses: Sequence[ShardStatus]) -> list[str]:
    """Name the tables that cannot be read, whose rows are made again; returns what stops whole shards."""
    for problem in (text for status in statuses for text in status.damaged):
        out.print(f"[yellow]its rows are made again:[/] {escape(problem)}")
    return [f"shard {status.shard}: {status.stopped}" for status in statuses if status.stopped]


def _is_due(status: ShardStatus, retry: Retry, settings: Settings, stores: Stores) -> bool:
    if status.stopped:
        return False
    if retry.mode is not Mode.FAILED:
        return status.pending
    chain = [step.asset for step in steps(settings)]
    return bool(retry.chosen(stores.output, chain, settings.dataset, status.shard))


@contextmanager
def row_progress(settings: Settings, pending: Sequence[ShardStatus]) -> Iterator[RowListener]:
    """A bar per asset over all images of the pending shards, advanced by the yielded listener.

    Failures are printed as they happen.
    """
    total = sum(status.images for status in pending)
    columns = (TextColumn("{task.description:<16}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=out, transient=not out.is_terminal) as progress:
        bars = {step.asset: progress.add_task(step.asset, total=total) for step in steps(settings)}

        def show(asset: str, shard: str, row: ImageRow, computed: bool) -> None:
            progress.advance(bars[asset])
            if computed and row.status in (Status.ERROR, Status.REJECTED):
                progress.console.print(describe_failure(asset, row))

        yield show


def describe_failure(asset: str, row: ImageRow) -> str:
    """One line for one image that is not good, with markup."""
    colour = "red" if row.status is Status.ERROR else "yellow"
    why = f"{row.error_class}: {row.error_message}" if row.error_class else "; ".join(row.reasons)
    return f"[{colour}]{row.status.value}[/] {asset} {escape(row.source_key)}: {escape(why)}"


def print_statuses(settings: Settings, statuses: Sequence[ShardStatus]) -> None:
    """One line per shard; assets are named where they are not complete."""
    table = Table(title=f"data set {settings.dataset}", box=SIMPLE)
    for name in ("shard", "images", *Status):
        table.add_column(str(name), justify="right", no_wrap=True)
    table.add_column("state", overflow="fold")
    colours = {State.COMPLETE: "green", State.FAILED: "red", State.STALE: "yellow", State.MISSING: "dim"}
    for status_ in statuses:
        unfinished = [
            f"[{colours[state]}]{asset} {state.value}[/]{_losses(status_, asset)}"
            for asset, state in status_.states.items()
            if state is not State.COMPLETE
        ]
        table.add_row(
            status_.shard,
            str(status_.images),
            *(str(status_.counts.get(name.value, "-")) for name in Status),
            (status_.stopped and f"[red]stopped: {escape(status_.stopped)}[/]")
            or ", ".join(unfinished)
            or "[green]complete[/]",
        )
    out.print(table)
    if not statuses:
        out.print("no shards yet: `imgpipe plan` or `imgpipe run` seals them")


def _losses(status: ShardStatus, asset: str) -> str:
    return f" ({status.lost[asset]} files gone or cut)" if asset in status.lost else ""


def print_checks(evaluations: Sequence[AssetCheckEvaluation]) -> None:
    """One line per check over the partitions of this run, with the description of its first failure."""
    if not evaluations:
        return
    table = Table(title="checks", box=SIMPLE)
    for name in ("check", "asset", "passed", "what failed"):
        table.add_column(name, overflow="fold")
    grouped: dict[tuple[str, str], list[AssetCheckEvaluation]] = {}
    for one in evaluations:
        grouped.setdefault((one.asset_key.to_user_string(), one.check_name), []).append(one)
    for (asset, check), members in grouped.items():
        failed = [one for one in members if not one.passed]
        colour = "green" if not failed else "yellow" if _only_warns(failed) else "red"
        passed = f"[{colour}]{len(members) - len(failed)} of {len(members)}[/]"
        said = "".join(f"{one.severity.value} {one.partition}: {one.description}" for one in failed[:1])
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        table.add_row(check, asset, passed, escape(said + more))
    out.print(table)


def _only_warns(failed: Sequence[AssetCheckEvaluation]) -> bool:
    return all(one.severity.value == "WARN" for one in failed)


def print_counts(counts: Mapping[str, int], causes: Mapping[str, int]) -> None:
    """As in ``37 images: 7 ok, 30 rejected: 30 x matte not sure; 0 error, 0 skipped``."""
    ok, rejected, *others = (f"{counts.get(status.value, 0)} {status.value}" for status in Status)
    why = f": {escape(causes_in_words(causes))};" if causes else ","
    out.print(f"{counts.get('n', 0)} images: {ok}, {rejected}{why} {', '.join(others)}")


def print_report_place(settings: Settings, stores: Stores) -> None:
    page = keys.report_key(settings.dataset, "index.html")
    if stores.output.exists(page):
        out.print(f"report: {escape(stores.output.uri(page))}")
    out.print(f"output: {escape(stores.output.url)}")


def _exit_code(counts: dict[str, int]) -> int:
    return EXIT_IMAGES if counts.get("error", 0) + counts.get("rejected", 0) else EXIT_OK
