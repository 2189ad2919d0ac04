"""The data set as a whole, unpartitioned: its report, and the queue of images that wait for a person."""

# No postponed annotations here: Dagster reads those of the functions that it decorates.

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from dagster import AssetExecutionContext, AssetsDefinition, MaterializeResult, MetadataValue, asset

from imgpipe.assets.gallery import MAX_IMAGES, Gallery, Shown
from imgpipe.assets.links import report_link
from imgpipe.assets.metadata import PLOTTED_SCORES, failing_table
from imgpipe.assets.overview import as_markdown, overview_svg
from imgpipe.assets.presentation import code_references, freshness, owners
from imgpipe.config import Settings
from imgpipe.engines.stop import STOP
from imgpipe.errors import ObjectMissing, ObjectUnreadable
from imgpipe.names import counted
from imgpipe.pictures.reader import PictureReader
from imgpipe.resources.naming import asset_key, named
from imgpipe.resources.stores import opened_stores, stores_key
from imgpipe.review.queue import QueueItem, State, read_queue
from imgpipe.stages.catalogue import MATTED, QUALITY
from imgpipe.stages.chain import REPORT, steps
from imgpipe.storage import keys
from imgpipe.storage.lease import REPORT as REPORT_LEASE
from imgpipe.storage.lease import hold
from imgpipe.storage.opening import Stores
from imgpipe.storage.sealed import SealedShards
from imgpipe.storage.tables import read_meta, read_table

if TYPE_CHECKING:
    from imgpipe.report.build import ReportResult
    from imgpipe.report.frame import ShardRows

#: The asset that lists what waits for a decision.
REVIEW_QUEUE = "review_queue"
_LISTED = 50


def build_report_asset(settings: Settings, say: Callable[[str], None] | None = None) -> AssetsDefinition:
    """``dataset_report``: images.parquet and index.html of the whole data set.

    ``say``: is told every minute how far it has come; without it, the run's log.
    """

    @_over_all_shards(
        settings,
        REPORT,
        "dashboard",
        "One page over all images: counts, histograms, the worst, with pictures. "
        "`overview` shows it at a glance.",
        build_report_asset,
    )
    def dataset_report(context: AssetExecutionContext) -> MaterializeResult[None]:
        from imgpipe.report.build import build_report

        opened = opened_stores(context, settings)
        reader = PictureReader.of(settings, opened)
        with hold(opened.output, settings.dataset, REPORT_LEASE, sleep=STOP.sleep):
            shards, unreadable = finished_shards(settings, opened)
            result = build_report(
                settings.dataset,
                shards,
                reader,
                matte_asset=MATTED,
                problems=unreadable,
                say=say or context.log.info,
            )
        context.log.info("report: %s", result.page_url)
        return MaterializeResult(metadata=_report_metadata(result, settings, opened))

    return dataset_report


def build_queue_asset(settings: Settings) -> AssetsDefinition:
    """``review_queue``: the images that wait for a person, with their reasons."""

    @_over_all_shards(
        settings,
        REVIEW_QUEUE,
        "json",
        "Rejected and failed images that nobody has decided about: `imgpipe review accept`, `reject` or "
        "`replace` does. What was decided takes effect with the next run.",
        read_queue,
        build_queue_asset,
    )
    def review_queue(context: AssetExecutionContext) -> MaterializeResult[None]:
        opened = opened_stores(context, settings)
        assets = [step.asset for step in steps(settings)]
        items = list(read_queue(opened.output, settings.dataset, assets, everything=True))
        key = keys.report_key(settings.dataset, "review_queue.json")
        waiting = [item for item in items if item.state is State.WAITING]
        text = json.dumps([item.as_dict() for item in waiting], indent=2)
        opened.output.write(key, (text + "\n").encode(), overwrite=True)
        context.log.info("review queue: %s waiting", counted(len(waiting), "image"))
        return MaterializeResult(metadata=_queue_metadata(items, waiting, key, settings, opened))

    return review_queue


def _over_all_shards(
    settings: Settings, name: str, kind: str, description: str, *code: Callable[..., Any]
) -> Callable[[Callable[..., Any]], AssetsDefinition]:
    """The decorator of an unpartitioned asset that reads the quality tables of all shards.

    ``kind``: what it makes, as the UI has an icon for it. ``code``: what the UI links to.
    """
    return asset(
        key=asset_key(settings, name),
        deps=[asset_key(settings, QUALITY)],
        group_name=named(settings, "images"),
        required_resource_keys={stores_key(settings)},
        kinds={"python", kind},
        owners=owners(settings),
        freshness_policy=freshness(settings),
        description=description,
        metadata={
            "dataset": settings.dataset,
            "output": settings.output,
            "s3": settings.s3.model_dump(mode="json"),
            **code_references(settings, *code),
        },
    )


def finished_shards(settings: Settings, stores: Stores) -> tuple[list["ShardRows"], list[str]]:
    """The tables of every shard whose quality table stands; why others are left out, and which of them
    cannot be brought up to date."""
    from imgpipe.report.frame import ShardRows

    assets = [step.asset for step in steps(settings)]
    sealed = SealedShards(stores.output, settings.dataset)
    shards = []
    unreadable = [f"shard {shard} stays as it is: {exc}" for shard, exc in sealed.damaged.items()]
    for shard in sorted([*sealed.facts, *sealed.damaged], key=keys.shard_index):
        try:
            if read_meta(stores.output, QUALITY, settings.dataset, shard) is None:
                continue
            tables = {name: read_table(stores.output, name, settings.dataset, shard)[0] for name in assets}
            shards.append(ShardRows(shard, tables))
        except (ObjectUnreadable, ObjectMissing) as exc:
            unreadable.append(f"shard {shard} is left out: {exc}")
    return shards, unreadable


def _report_metadata(result: "ReportResult", settings: Settings, stores: Stores) -> dict[str, Any]:
    return {
        "report": MetadataValue.url(report_link(settings)),
        "images": result.counts["n"],
        **{name: n for name, n in result.counts.items() if name != "n"},
        **_score_metadata(result.metrics),
        "near_duplicate_groups": result.near_duplicate_groups,
        "problems": list(result.problems),
        "page": result.page_url,
        "table": result.table_url,
        **_overview(settings, stores),
    }


def _overview(settings: Settings, stores: Stores) -> dict[str, Any]:
    from imgpipe.report.archive import read_archive

    archive = read_archive(stores.output, settings.dataset)
    if archive is None:
        return {}
    svg = overview_svg(archive.frame, settings.dataset, stores.output)
    return {"overview": MetadataValue.md(as_markdown(svg))}


def _score_metadata(metrics: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """Mean, fifth percentile and least value of the scores that plot over time."""
    return {
        f"{name}_{part}": metrics[name][part]
        for name in PLOTTED_SCORES
        if name in metrics
        for part in ("mean", "p05", "min")
    }


def _queue_metadata(
    items: Sequence[QueueItem], waiting: Sequence[QueueItem], key: str, settings: Settings, stores: Stores
) -> dict[str, Any]:
    states = Counter(item.state for item in items)
    stopped = Counter(item.asset for item in waiting)
    values: dict[str, Any] = {
        **{state.value: states[state] for state in State},
        "outdated": sum(item.outdated is not None for item in waiting),
        "stopped_at": dict(stopped),
        "list": stores.output.uri(key),
    }
    if waiting:
        values["waiting_images"] = failing_table([item.final for item in waiting], stores, _LISTED)
        values["pictures"] = MetadataValue.md(_pictures(waiting[:MAX_IMAGES], settings, stores))
    return values


def _pictures(waiting: Sequence[QueueItem], settings: Settings, stores: Stores) -> str:
    """One table per shard; together they hold no more than one gallery does."""
    parts = []
    for shard, members in groupby(waiting, key=lambda item: item.shard):
        shown = [Shown(item.image_id, item.source_key, "; ".join(item.reasons)) for item in members]
        gallery = Gallery(settings, stores, shard)
        parts.append(f"**{shard}**\n\n{gallery.markdown(shown, of=len(waiting))}")
    return "\n\n".join(parts)
