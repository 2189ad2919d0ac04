"""The data set's report: unpartitioned, from the tables of all shards."""

# No postponed annotations here: Dagster reads those of the functions that it decorates.

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from dagster import AssetExecutionContext, AssetsDefinition, MaterializeResult, MetadataValue, asset

from imgpipe.assets.metadata import PLOTTED_SCORES
from imgpipe.config import Settings
from imgpipe.engines.shard import Stores
from imgpipe.resources.stores import ImageStores
from imgpipe.stages.chain import QUALITY, REPORT, steps
from imgpipe.storage.manifests import list_shards
from imgpipe.storage.tables import read_meta, read_table

if TYPE_CHECKING:
    from imgpipe.report.build import ShardRows


def build_report_asset(settings: Settings) -> AssetsDefinition:
    """``dataset_report``: images.parquet and index.html of the whole data set."""

    @asset(
        name=REPORT,
        deps=[QUALITY],
        group_name="images",
        kinds={"python", "html"},
        description="One page over all images: counts, histograms, the worst, with pictures.",
        metadata={"dataset": settings.dataset, "output": settings.output},
    )
    def dataset_report(context: AssetExecutionContext, stores: ImageStores) -> MaterializeResult[None]:
        from imgpipe.report.build import build_report

        opened = stores.open(settings)
        result = build_report(
            settings.dataset,
            finished_shards(settings, opened),
            source=opened.source,
            output=opened.output,
            limits=settings.limits,
        )
        context.log.info("report: %s", result.page_url)
        return MaterializeResult(
            metadata={
                "images": MetadataValue.int(result.counts["n"]),
                **{name: MetadataValue.int(n) for name, n in result.counts.items() if name != "n"},
                **_score_metadata(result.metrics),
                "near_duplicate_groups": MetadataValue.int(result.near_duplicate_groups),
                "problems": MetadataValue.json(list(result.problems)),
                "page": MetadataValue.text(result.page_url),
                "table": MetadataValue.text(result.table_url),
            }
        )

    return dataset_report


def finished_shards(settings: Settings, stores: Stores) -> Iterator["ShardRows"]:
    """The tables of every shard whose quality table stands, shard by shard."""
    from imgpipe.report.build import ShardRows

    assets = [step.asset for step in steps(settings)]
    for shard in list_shards(stores.output, settings.dataset):
        if read_meta(stores.output, QUALITY, settings.dataset, shard) is None:
            continue
        tables = {name: read_table(stores.output, name, settings.dataset, shard)[0] for name in assets}
        yield ShardRows(shard, tables)


def _score_metadata(metrics: Mapping[str, Mapping[str, float]]) -> dict[str, MetadataValue[Any]]:
    """Mean, fifth percentile and least value of the scores that plot over time."""
    return {
        f"{name}_{part}": MetadataValue.float(metrics[name][part])
        for name in PLOTTED_SCORES
        if name in metrics
        for part in ("mean", "p05", "min")
    }
