"""``plan``: which images there are, sealed into shards; ``run`` begins with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from imgpipe.cli.common import EXIT_OK, AllowDeletions, SourceMoved, out
from imgpipe.cli.console import escape
from imgpipe.cli.summary import print_damage, print_not_done
from imgpipe.config import Settings
from imgpipe.engines.status import fingerprints, shard_statuses
from imgpipe.errors import ConfigError
from imgpipe.names import counted
from imgpipe.storage.comparison import IMAGE_EXTENSIONS
from imgpipe.storage.deletions import require_plausible
from imgpipe.storage.lease import PLAN, hold
from imgpipe.storage.manifests import Plan, seal
from imgpipe.storage.manifests import plan as make_plan
from imgpipe.storage.opening import Stores, open_stores
from imgpipe.storage.source_record import record_source

Limit = Annotated[
    int | None,
    typer.Option(min=1, help="Images of the data set at most: the first by name, the others are left out."),
]


@dataclass(frozen=True, slots=True)
class Planning:
    """How the source is taken in.

    ``allow_deletions``: any number of sources may be gone; ``source_moved``: the source has another address;
    ``limit``: as :func:`imgpipe.storage.manifests.plan` takes it.
    """

    allow_deletions: bool = False
    source_moved: bool = False
    limit: int | None = None


PLAIN = Planning()


def plan(
    settings: Settings,
    allow_deletions: AllowDeletions = False,
    source_moved: SourceMoved = False,
    limit: Limit = None,
) -> int:
    """List the source and seal shard manifests; nothing is computed."""
    seal_plan(settings, Planning(allow_deletions, source_moved, limit))
    return EXIT_OK


def seal_plan(settings: Settings, planning: Planning) -> None:
    """List the source, plan, print what was found, and write the manifests that changed.

    Raises :class:`ConfigError` where there is no image at all, where too many sources are gone, and where the
    data set was made from another source.
    """
    stores = open_stores(settings, source_moved=planning.source_moved)
    with hold(stores.output, settings.dataset, PLAN):
        planned = checked_plan(settings, stores, planning)
        record_source(stores.output, settings.dataset, stores.source.url, moved=planning.source_moved)
        seal(planned, stores.output)


def plan_of(settings: Settings, stores: Stores, planning: Planning) -> Plan:
    """What sealing would do."""
    return make_plan(
        stores.source,
        stores.output,
        dataset=settings.dataset,
        shard_size=settings.shard_size,
        limit=planning.limit,
    )


def checked_plan(settings: Settings, stores: Stores, planning: Planning) -> Plan:
    """The plan, printed; nothing is written. Raises as :func:`seal_plan`."""
    planned = plan_of(settings, stores, planning)
    print_plan(planned)
    require_images(planned, stores.source.url)
    require_plausible(
        planned.deleted,
        planned.deleted + planned.changed + planned.unchanged,
        planned.listed,
        max_share=1.0 if planning.allow_deletions else settings.limits.max_deleted_share,
        source_url=stores.source.url,
    )
    return planned


def dry_run(settings: Settings, planning: Planning) -> int:
    """Print what ``run`` would plan, and how many shards it would do; nothing is written.

    Missing weights are reported as ``run`` does.
    """
    wanted = fingerprints(settings)
    stores = open_stores(settings, source_moved=planning.source_moved, create=False)
    planned = checked_plan(settings, stores, planning)
    statuses = list(shard_statuses(settings, stores, wanted, outputs=True))
    due = {status.shard for status in statuses if status.pending} | planned.files.keys()
    out.print(f"{len(due)} of {counted(len(planned.shards), 'shard')} to do; nothing was written (--dry-run)")
    return print_not_done(print_damage(statuses), EXIT_OK)


def require_images(planned: Plan, source_url: str) -> None:
    """Raise :class:`ConfigError` where the data set has no image, now or earlier."""
    if not planned.shards:
        endings = ", ".join(f".{ending}" for ending in sorted(IMAGE_EXTENSIONS))
        raise ConfigError(
            f"{source_url}: found no image; looked for files that end in {endings}, at any depth; "
            f"{'; '.join(planned.left_out.describe()) or 'nothing is there'}; check the folder or prefix"
        )


def print_plan(planned: Plan) -> None:
    out.print(
        f"plan: {planned.new} new, {planned.changed} changed, {planned.returned} returned, "
        f"{planned.deleted} deleted, {planned.unchanged} unchanged images in "
        f"{counted(len(planned.shards), 'shard')}"
    )
    for line in planned.left_out.describe(shown=5):
        out.print(f"[yellow]left out:[/] {escape(line)}")
