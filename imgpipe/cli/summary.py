"""What commands over a data set print: progress, failures, checks, counts, where results are."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.box import SIMPLE
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from imgpipe.cli.common import EXIT_IMAGES, EXIT_INFRASTRUCTURE, EXIT_OK, err, out
from imgpipe.cli.console import escape
from imgpipe.cli.progress import MinuteLines
from imgpipe.config import Settings
from imgpipe.engines.rejections import causes_in_words
from imgpipe.engines.shard import RowListener
from imgpipe.engines.status import ShardStatus
from imgpipe.names import counted
from imgpipe.records import ImageRow, Status
from imgpipe.stages.chain import steps
from imgpipe.storage import keys
from imgpipe.storage.opening import Stores
from imgpipe.storage.sealed import SealedShards

if TYPE_CHECKING:
    from dagster import AssetCheckEvaluation


@contextmanager
def row_progress(
    settings: Settings, pending: Sequence[ShardStatus], clock: Callable[[], float] = time.monotonic
) -> Iterator[RowListener]:
    """A bar per asset over all images of the pending shards, advanced by the yielded listener.

    Where there is no terminal, a line a minute. Failures are printed as they happen.
    """
    total = sum(status.images for status in pending)
    assets = [step.asset for step in steps(settings)]
    columns = (TextColumn("{task.description:<16}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=out, disable=not out.is_terminal) as progress:
        bars = {asset: progress.add_task(asset, total=total) for asset in assets}
        lines = MinuteLines(assets, total, out.print, clock)

        def advance(asset: str) -> None:
            if out.is_terminal:
                progress.advance(bars[asset])
            else:
                lines.add(asset)

        def show(asset: str, shard: str, row: ImageRow, computed: bool) -> None:
            advance(asset)
            if computed and row.status in (Status.ERROR, Status.REJECTED):
                out.print(describe_failure(asset, row))

        yield show


def describe_failure(asset: str, row: ImageRow) -> str:
    """One line for one image that is not good, with markup."""
    colour = "red" if row.status is Status.ERROR else "yellow"
    return f"[{colour}]{row.status.value}[/] {asset} {escape(row.source_key)}: {escape(row.why)}"


def print_damage(statuses: Sequence[ShardStatus]) -> list[str]:
    """Name the tables that cannot be read, whose rows are made again; returns what stops whole shards."""
    for problem in (text for status in statuses for text in status.damaged):
        out.print(f"[yellow]its rows are made again:[/] {escape(problem)}")
    return [f"shard {status.shard}: {status.stopped}" for status in statuses if status.stopped]


def code_unless_damaged(sealed: SealedShards) -> int:
    """The exit code of a command that went on without the shards whose manifest cannot be read."""
    return print_not_done([f"shard {shard}: {exc}" for shard, exc in sealed.damaged.items()], EXIT_OK)


def print_not_done(problems: Sequence[str], code: int) -> int:
    """Name what stopped single shards; returns ``code``, or that of a failed infrastructure."""
    for problem in problems:
        err.print(f"[bold red]not done[/]: {escape(problem)}")
    return EXIT_INFRASTRUCTURE if problems else code


def print_checks(evaluations: Sequence[AssetCheckEvaluation]) -> None:
    """How many checks passed on all partitions of this run; for each other the description of its first
    failure."""
    if not evaluations:
        return
    table = Table(box=SIMPLE, padding=0, pad_edge=False)
    for name in ("check", "asset", "passed", "what failed"):
        table.add_column(name, overflow="fold", no_wrap=name in ("check", "asset"))
    grouped: dict[tuple[str, str], list[AssetCheckEvaluation]] = {}
    for one in evaluations:
        grouped.setdefault((one.asset_key.to_user_string(), one.check_name), []).append(one)
    for (asset, check), members in grouped.items():
        failed = [one for one in members if not one.passed]
        if not failed:
            continue
        severe = any(one.severity.value != "WARN" for one in failed)
        colour = "red" if severe else "yellow"
        passed = f"[{colour}]{len(members) - len(failed)} of {len(members)}[/]"
        said = f"{failed[0].severity.value} {failed[0].partition}: {failed[0].description}"
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        table.add_row(check, asset, passed, escape(said + more))
    out.print(f"checks: {len(grouped) - table.row_count} of {len(grouped)} passed")
    if table.row_count:
        out.print(table)


def print_counts(counts: Mapping[str, int], causes: Mapping[str, int]) -> None:
    """As in ``37 images: 7 ok, 30 rejected: 30 x matte not sure; 0 error, 0 skipped``."""
    ok, rejected, *others = (f"{counts.get(status.value, 0)} {status.value}" for status in Status)
    why = f": {escape(causes_in_words(causes))};" if causes else ","
    out.print(f"{counted(counts.get('n', 0), 'image')}: {ok}, {rejected}{why} {', '.join(others)}")


def failed_checks(evaluations: Sequence[AssetCheckEvaluation]) -> list[dict[str, str]]:
    """The checks of this run that failed, as JSON objects; ``severity`` is ``WARN`` or ``ERROR``."""
    return [
        {
            "asset": one.asset_key.to_user_string(),
            "check": one.check_name,
            "partition": one.partition or "",
            "severity": one.severity.value,
            "description": one.description or "",
        }
        for one in evaluations
        if not one.passed
    ]


def report_place(settings: Settings, stores: Stores) -> str | None:
    """Path or address of the data set's report, where there is one."""
    page = keys.report_key(settings.dataset, "index.html")
    return stores.output.uri(page) if stores.output.exists(page) else None


def print_report_place(settings: Settings, stores: Stores) -> None:
    page = report_place(settings, stores)
    if page is not None:
        out.print(f"report: {escape(page)}")
    out.print(f"output: {escape(stores.output.url)}")


def exit_code(counts: Mapping[str, int]) -> int:
    """1 where an image failed or was rejected."""
    return EXIT_IMAGES if counts.get("error", 0) + counts.get("rejected", 0) else EXIT_OK
