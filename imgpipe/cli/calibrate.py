"""``calibrate``: proposes thresholds from the measurements of a data set."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml
from rich.console import JustifyMethod
from rich.table import Table

from imgpipe.cli.common import (
    EXIT_OK,
    Assignments,
    ConfigFile,
    OutputUrl,
    dataset_settings,
    exits,
    only_dataset,
    out,
)
from imgpipe.cli.console import escape
from imgpipe.config import Settings
from imgpipe.errors import ConfigError
from imgpipe.metrics import PROFILES
from imgpipe.names import counted
from imgpipe.quality.profiles import thresholds_for
from imgpipe.quality.report import Severity
from imgpipe.records import ImageRow, Status
from imgpipe.stages.catalogue import QUALITY
from imgpipe.storage.manifests import list_shards
from imgpipe.storage.opening import open_store
from imgpipe.storage.store import ImageStore
from imgpipe.storage.tables import read_table, table_exists

if TYPE_CHECKING:
    from imgpipe.quality.calibration import Calibration
    from imgpipe.quality.report import Threshold


@exits
def calibrate(
    output: OutputUrl = None,
    dataset: Annotated[str | None, typer.Option(help="Data set; default: the only one there is.")] = None,
    reject_rate: Annotated[float, typer.Option(help="Share of images that may be rejected.")] = 0.01,
    profile_name: Annotated[
        str | None, typer.Option(help="Name that verdicts will record; default: the data set's.")
    ] = None,
    write: Annotated[Path | None, typer.Option(help="YAML file to write the profile to.")] = None,
    config: ConfigFile = None,
    assignments: Assignments = None,
) -> None:
    """Propose thresholds from a data set's own distribution, and write them as a profile.

    Use the profile by --config FILE or --set quality.profile=FILE.
    """
    from imgpipe.quality.calibration import calibrate as propose

    settings = dataset_settings({"output": output}, assignments, config)
    if not settings.output:
        raise ConfigError("output: expected a folder or s3://bucket/prefix, got nothing; give --output URL")
    store = open_store(settings.output, settings.s3)
    name = dataset or only_dataset(store)
    rows = _scored_rows(store, name)
    base, thresholds = _in_force(rows, settings)
    found = propose([row.metrics for row in rows], thresholds, reject_rate=reject_rate)
    _print_table(found, name, base)
    _print_histograms(found, rows)
    if write is not None:
        try:
            write.write_text(_profile_text(found, profile_name or name, base, settings), encoding="utf-8")
        except OSError as exc:
            raise ConfigError(f"{write}: expected a file that can be written: {exc.strerror}") from exc
        out.print(f"profile: {escape(str(write))} (use it by --set quality.profile={escape(str(write))})")
    raise typer.Exit(EXIT_OK)


def _scored_rows(store: ImageStore, dataset: str) -> list[ImageRow]:
    """Rows of all quality tables that hold scores; raises :class:`ConfigError` where there is none."""
    rows: list[ImageRow] = []
    for shard in list_shards(store, dataset):
        if table_exists(store, QUALITY, dataset, shard):
            rows += [
                row
                for row in read_table(store, QUALITY, dataset, shard)[0]
                if row.status in (Status.OK, Status.REJECTED) and "checks" in row.details
            ]
    if not rows:
        raise ConfigError(
            f"data set {dataset!r} at {store.url} has no scored images; materialize {QUALITY} first"
        )
    return rows


def _in_force(rows: list[ImageRow], settings: Settings) -> tuple[str, dict[str, Threshold]]:
    """(profile to start from, thresholds that most of the rows were judged by)."""
    names = Counter(str(row.details.get("profile", "")) for row in rows)
    recorded = names.most_common(1)[0][0]
    base = recorded if recorded in PROFILES else settings.quality.profile
    base = base if base in PROFILES else "classical"
    judged = next(row for row in rows if row.details.get("profile") == recorded)
    limits = {check["name"]: float(check["threshold"]) for check in judged.details["checks"]}
    return base, {
        name: replace(threshold, value=limits.get(name, threshold.value))
        for name, threshold in thresholds_for(base, settings.quality).items()
    }


def _print_table(found: Calibration, dataset: str, base: str) -> None:
    target = f"target {found.reject_rate:.2%} rejected"
    out.print(f"data set {escape(dataset)}: {counted(found.images, 'image')}, from profile {base}, {target}")
    table = Table(box=None, padding=(0, 1, 0, 0))
    for name in ("threshold", "severity", "now", "proposed", "images", "fail", "then", "from"):
        justify: JustifyMethod = "left" if name in ("threshold", "severity", "from") else "right"
        table.add_column(name, justify=justify, overflow="fold")
    for one in found.proposals:
        if not one.measured:
            continue
        changed = one.proposed != one.current
        shown = f"[bold]{one.proposed:g}[/]" if changed else f"{one.proposed:g}"
        numbers = (str(one.measured), str(one.fail_now), str(one.fail_then))
        table.add_row(one.name, one.severity.value, f"{one.current:g}", shown, *numbers, one.method)
    out.print(table)
    others = ", ".join(one.name for one in found.proposals if not one.measured)
    if others:
        out.print(f"kept, as no image was measured by them: {others}")
    out.print(f"rejected now: {found.rejected_now} of {found.images}; then: {found.rejected_then}")
    if found.above_target:
        _print_misses(found)


def _print_misses(found: Calibration) -> None:
    """Which thresholds reject more than the target."""
    misses = [one for one in found.proposals if one.fail_then and one.severity is Severity.ERROR]
    named = ", ".join(f"{one.name} {one.fail_then}" for one in sorted(misses, key=lambda one: -one.fail_then))
    share = found.rejected_then / found.images
    out.print(
        f"[yellow]the target is not kept:[/] {share:.2%} rejected, {found.reject_rate:.2%} wanted: {named}"
    )
    out.print(
        "These images lie far from the others, or their threshold is kept as it is. Look at them in the "
        "report: damaged ones are rejected rightly; for good ones set quality.thresholds by hand"
    )


def _print_histograms(found: Calibration, rows: list[ImageRow]) -> None:
    """Bars per metric; N marks the current threshold, P the proposed one."""
    import numpy as np

    from imgpipe.quality.calibration import text_histogram

    out.print("N: current threshold, P: proposed")
    for one in found.proposals:
        if one.proposed == one.current:
            continue
        values = np.array([row.metrics.get(one.metric, math.nan) for row in rows])
        bars, marks = text_histogram(values[np.isfinite(values)], {"N": one.current, "P": one.proposed})
        sign = "≥" if one.direction == "min" else "≤"
        out.print(f"{one.metric} {sign}\n  {bars}\n  {marks}")


def _profile_text(found: Calibration, name: str, base: str, settings: Settings) -> str:
    """The YAML of a profile: a ``quality`` section, which a configuration file may hold as well."""
    quality: dict[str, Any] = {
        "profile": base,
        "profile_name": name,
        "thresholds": {one.name: one.proposed for one in found.proposals},
    }
    if settings.quality.severity:
        quality["severity"] = dict(settings.quality.severity)
    head = f"# Proposed by `imgpipe calibrate` from {counted(found.images, 'image')}.\n"
    return head + str(yaml.safe_dump({"quality": quality}, sort_keys=False, allow_unicode=True))
