"""``fsck``: rows against objects against digests."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from typing import Annotated

import typer
from rich.filesize import decimal

from imgpipe.cli.common import EXIT_IMAGES, EXIT_OK, Assignments, ConfigFile, dataset_settings, exits, out
from imgpipe.cli.console import escape
from imgpipe.engines.fsck import REMOVED, Depth, Finding, Kind, ShardCheck, check, mend
from imgpipe.errors import ConfigError, LeaseHeld
from imgpipe.names import counted
from imgpipe.storage.manifests import list_datasets
from imgpipe.storage.opening import open_store
from imgpipe.storage.store import ImageStore


@exits
def fsck(
    output: Annotated[
        str | None,
        typer.Argument(metavar="[OUTPUT]", help="Results: folder or s3://…; default: the settings'."),
    ] = None,
    dataset: Annotated[str, typer.Option(help="Data set to compare; default: all.")] = "",
    deep: Annotated[bool, typer.Option("--deep", help="Read and hash the files.")] = False,
    sizes: Annotated[
        bool, typer.Option("--sizes", help="Compare names and sizes alone: no request for each file.")
    ] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="Have the next run make again what is missing or damaged.")
    ] = False,
    remove_orphans: Annotated[
        bool, typer.Option("--remove-orphans", help="Delete files that no row names.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without it, it is only said.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a line: each finding, then the sums.")
    ] = False,
    config: ConfigFile = None,
    assignments: Assignments = None,
) -> None:
    """Compare rows with files, sizes and digests, both ways. Exit code 0: all is well, 1: not all."""
    if deep and sizes:
        raise ConfigError("--deep and --sizes: expected one of them")
    settings = dataset_settings({} if output is None else {"output": output}, assignments, config)
    store = open_store(settings.output, settings.s3)
    depth = Depth.DEEP if deep else Depth.SIZES if sizes else Depth.KEPT
    sums: Counter[str] = Counter()
    for one in check(store, dataset, depth):
        sums.update(shards=1, rows=one.rows, files=one.files, verified=one.verified)
        sums.update(finding.kind.value for finding in one.findings)
        done = _mended(store, one, repair, remove_orphans, depth) if yes else []
        sums["done"] += len(done)
        sums["orphan_bytes"] += sum(finding.size_bytes for finding in one.findings)
        for finding in one.findings:
            _say(store, finding, finding in done, as_json)
    if not sums["shards"]:
        there = ", ".join(list_datasets(store)) or "none"
        named = f" {dataset!r}" if dataset else ""
        raise ConfigError(
            f"{store.url}: expected results with a data set{named}, nothing was compared; there are: {there}"
        )
    if as_json:
        _print_json({"sums": sums})
    else:
        _say_sums(sums, depth, repair or remove_orphans, yes)
    kinds = set(Kind)
    raise typer.Exit(EXIT_IMAGES if any(sums[kind] for kind in kinds) else EXIT_OK)


def _mended(
    store: ImageStore, one: ShardCheck, repair: bool, remove_orphans: bool, depth: Depth
) -> list[Finding]:
    try:
        return mend(store, one.findings, repair=repair, remove=remove_orphans, depth=depth)
    except LeaseHeld as exc:
        out.print(f"[yellow]left alone:[/] {escape(str(exc))}")
        return []


def _say(store: ImageStore, finding: Finding, done: bool, as_json: bool) -> None:
    if as_json:
        _print_json({**asdict(finding), "done": done})
        return
    place = store.uri(finding.key) if finding.key else finding.asset
    what = f" {'removed' if finding.kind in REMOVED else 'is made again'}" if done else ""
    out.print(
        f"[red]{finding.kind.value:<10}[/] {finding.dataset}-{finding.shard} {escape(place)}: "
        f"{escape(finding.said)}{what and f'; [green]{what.strip()}[/]'}"
    )


def _print_json(value: object) -> None:
    out.print(json.dumps(value), markup=False, highlight=False, soft_wrap=True)


def _say_sums(sums: Counter[str], depth: Depth, asked: bool, yes: bool) -> None:
    compared = {Depth.SIZES: "size", Depth.KEPT: "the digest that the store keeps", Depth.DEEP: "digest"}[
        depth
    ]
    out.print(
        ", ".join(counted(sums[f"{name}s"], name) for name in ("shard", "row", "file"))
        + "; "
        + ("" if depth is Depth.SIZES else f"{sums['verified']} of them compared by {compared}; ")
        + f"{sums['missing']} missing, {sums['size']} of another size, {sums['checksum']} of other bytes, "
        f"{sums['table']} tables damaged, {sums['other_rows']} with other rows, "
        f"{sums['manifest']} manifests, "
        f"{sums['orphan']} orphans ({decimal(sums['orphan_bytes'])}), {sums['unfinished']} unfinished shards"
    )
    if yes:
        out.print(f"{sums['done']} of these done; `imgpipe run` makes again what was damaged")
    elif asked:
        out.print("nothing was changed: add --yes")
