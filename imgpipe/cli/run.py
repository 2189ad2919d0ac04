"""``run`` and ``report``: a whole data set."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from imgpipe.cli.common import AllowDeletions, SourceMoved, err, out, printing_to_stderr
from imgpipe.cli.console import escape
from imgpipe.cli.plan import PLAIN, Limit, Planning, dry_run, seal_plan
from imgpipe.cli.summary import (
    code_unless_damaged,
    exit_code,
    failed_checks,
    print_checks,
    print_counts,
    print_damage,
    print_not_done,
    print_report_place,
    report_place,
    row_progress,
)
from imgpipe.cli.watch import rounds
from imgpipe.config import Settings
from imgpipe.engines.retry import DUE, Mode, Retry
from imgpipe.engines.status import ShardStatus, State, fingerprints, shard_statuses, totals
from imgpipe.errors import ConfigError, ObjectChanged, ObjectMissing, ObjectUnreadable
from imgpipe.names import counted
from imgpipe.review.build import require_reviewer
from imgpipe.stages.build import warm_up
from imgpipe.stages.chain import steps
from imgpipe.stages.start import starting
from imgpipe.storage import keys
from imgpipe.storage.lease import REPORT, hold
from imgpipe.storage.opening import Stores, open_stores
from imgpipe.storage.sealed import SealedShards

if TYPE_CHECKING:
    from dagster import AssetCheckEvaluation, DagsterInstance

    from imgpipe.launch import Launcher


#: A run that a person starts retries every error.
EVERYTHING = Retry(Mode.ALL)


def run(
    settings: Settings,
    only: Annotated[
        Literal["failed"] | None,
        typer.Option(help="Only images that failed or were rejected; all others are kept."),
    ] = None,
    reason: Annotated[
        str, typer.Option(help="With --only failed: only images whose error or reasons hold this text.")
    ] = "",
    allow_deletions: AllowDeletions = False,
    source_moved: SourceMoved = False,
    limit: Limit = None,
    watch: Annotated[
        int | None,
        typer.Option(min=1, help="Go on: look again every so many seconds, until Ctrl-C.", metavar="SECONDS"),
    ] = None,
    dry: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be planned and done; write nothing.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object at the end; everything else on stderr.")
    ] = False,
) -> int:
    """Plan, materialize every shard that is missing, out of date or has failed rows, and report."""
    if reason and only is None:
        raise ConfigError("--reason: chooses among failed images; expected --only failed with it")
    if dry and (only is not None or as_json):
        raise ConfigError(
            "--dry-run: plans everything and prints text; expected no --only and no --json with it"
        )
    if only is not None and limit is not None:
        raise ConfigError("--limit: nothing is taken in with --only failed; give one of them")
    if watch is not None and (dry or as_json or only is not None):
        raise ConfigError("--watch: goes on until Ctrl-C; expected no --dry-run, --json and --only with it")
    planning = Planning(allow_deletions, source_moved, limit)
    if dry:
        return dry_run(settings, planning)
    if watch is not None:
        for first in rounds(settings, planning, watch):
            _run_once(settings, EVERYTHING if first else DUE, planning)
    retry = EVERYTHING if only is None else Retry(Mode.FAILED, reason)
    return _run_once(settings, retry, planning, as_json=as_json)


def _run_once(settings: Settings, retry: Retry, planning: Planning, *, as_json: bool = False) -> int:
    with printing_to_stderr() if as_json else nullcontext():
        outcome = materialize_pending(settings, retry, planning)
        stores = open_stores(settings)
        print_checks(outcome.evaluations)
        counts, causes = totals(list(shard_statuses(settings, stores, None)))
        print_counts(counts, causes)
        print_report_place(settings, stores)
        code = print_not_done(outcome.stopped, exit_code(counts))
    if as_json:
        result = {
            "dataset": settings.dataset,
            "output": stores.output.url,
            "report": report_place(settings, stores),
            "counts": counts,
            "causes": causes,
            "failed_checks": failed_checks(outcome.evaluations),
            "not_done": outcome.stopped,
            "exit_code": code,
        }
        typer.echo(json.dumps(result, indent=2))
    return code


@dataclass(slots=True)
class Outcome:
    """Check results of a run, and what stopped the planning or single shards; the others were done."""

    evaluations: list[AssetCheckEvaluation] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)


def report(settings: Settings) -> int:
    """Build the data set's report from the existing tables."""
    from imgpipe.automation.report import report_tags
    from imgpipe.launch import Launcher, open_instance

    stores = open_stores(settings)
    sealed = SealedShards(stores.output, settings.dataset)
    if not sealed.facts and not sealed.damaged:
        raise ConfigError(
            f"{stores.output.url}: no shard of data set {settings.dataset!r} is sealed here, so there is "
            "nothing to report; check the output and the data set's name, or start with `imgpipe run`"
        )
    with open_instance() as instance:
        Launcher(settings, instance).run_report(report_tags(stores.output, settings))
    print_report_place(settings, stores)
    return code_unless_damaged(sealed)


def materialize_pending(settings: Settings, retry: Retry = EVERYTHING, planning: Planning = PLAIN) -> Outcome:
    """Plan, seal and bring every pending shard up to date; a damaged file stops its shard alone.

    With a ``retry`` of failed images only, nothing is planned: new and changed sources are not considered.
    """
    # What is missing is reported before anything is listed or written.
    wanted = fingerprints(settings)
    require_reviewer(settings.review)
    if settings.engine == "ray":
        _begin_ahead(settings, wanted, retry, planning)
    with starting():
        from imgpipe.launch import check_instance  # takes seconds: Dagster
    check_instance()
    outcome = Outcome()
    if retry.mode is not Mode.FAILED:
        try:
            seal_plan(settings, planning)
        except ObjectUnreadable as exc:
            outcome.stopped.append(f"planning: {exc}")
    stores = open_stores(settings)
    statuses = list(shard_statuses(settings, stores, wanted, outputs=True))
    outcome.stopped += print_damage(statuses)

    def is_due(shard: str) -> bool:
        now = shard_statuses(settings, stores, wanted, outputs=True, shard=shard)
        return any(_is_due(status, retry, settings, stores) for status in now)

    pending = [status for status in statuses if _is_due(status, retry, settings, stores)]
    _warm_up(settings, pending)
    with starting():
        from imgpipe.launch import Launcher, open_instance, remember_settings
        from imgpipe.partitions import add_partitions
        from imgpipe.resources.runs import end_dead_runs

    with open_instance() as instance:
        home = remember_settings(settings).parent
        for ended in end_dead_runs(instance):
            err.print(escape(ended))
        out.print(f"Dagster instance: {escape(str(home))} (open it with `imgpipe ui`)")
        add_partitions(settings, instance, [status.shard for status in statuses])
        out.print(f"{len(pending)} of {counted(len(statuses), 'shard')} to do")
        with row_progress(settings, pending) as on_row:
            launcher = Launcher(settings, instance, on_row, say=lambda text: err.print(escape(text)))
            for shard in (status.shard for status in pending):
                try:
                    with hold(stores.output, settings.dataset, shard) as lease:
                        if lease.waited and not is_due(shard):
                            out.print(f"shard {shard}: done by the run that was waited for")
                        else:
                            outcome.evaluations.extend(launcher.run_shard(shard, retry))
                except (ObjectMissing, ObjectChanged, ObjectUnreadable) as exc:
                    outcome.stopped.append(f"shard {shard}: {exc}")
        if any(not status.stopped for status in statuses):
            _bring_report_up_to_date(settings, stores, launcher, instance)
    return outcome


def _bring_report_up_to_date(
    settings: Settings, stores: Stores, launcher: Launcher, instance: DagsterInstance
) -> None:
    """Make the report where tables have changed since the last one, also during another run's."""
    from imgpipe.automation.report import is_reported, report_tags

    def is_made() -> bool:
        page = keys.report_key(settings.dataset, "index.html")
        return stores.output.exists(page) and is_reported(instance, report_tags(stores.output, settings))

    if is_made():
        return
    with hold(stores.output, settings.dataset, REPORT):
        if is_made():
            out.print("the report was made by another run meanwhile")
        else:
            launcher.run_report(report_tags(stores.output, settings))


def _begin_ahead(settings: Settings, wanted: Mapping[str, str], retry: Retry, planning: Planning) -> None:
    """Start a cluster, beside what takes seconds here, unless the last shard that is sealed is done: then
    the source must be listed first, and most often nothing is due."""
    from imgpipe.engines.ray_pool import connect_ahead, warm_up_workers

    stores = open_stores(settings, source_moved=planning.source_moved, create=False)
    sealed = SealedShards(stores.output, settings.dataset).shards
    last = shard_statuses(settings, stores, wanted, shard=sealed[-1]) if sealed else ()
    due = [status for status in last if _is_due(status, retry, settings, stores)]
    if due or not sealed:
        connect_ahead(settings.ray)
    if sealed:
        _warm_up(settings, due)
    else:
        warm_up_workers(settings, images=1)


def _warm_up(settings: Settings, due: Sequence[ShardStatus]) -> None:
    """Load models meanwhile; a shard of failed images may not need a network."""
    images = [status.images for status in due if status.state is not State.FAILED]
    if images and settings.engine == "ray":
        from imgpipe.engines.ray_pool import warm_up_workers

        warm_up_workers(settings, max(images))
    elif images:
        warm_up(settings)


def _is_due(status: ShardStatus, retry: Retry, settings: Settings, stores: Stores) -> bool:
    if status.stopped or (retry.mode is Mode.DUE and status.state is State.FAILED):
        return False
    if retry.mode is not Mode.FAILED:
        return status.pending
    chain = [step.asset for step in steps(settings)]
    return bool(retry.chosen(stores.output, chain, settings.dataset, status.shard))
