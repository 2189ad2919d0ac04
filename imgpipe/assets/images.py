"""The partitioned assets, one per step, made from the configured actions."""

# No postponed annotations here: Dagster reads those of the functions that it decorates.

from typing import Any

from dagster import AssetExecutionContext, AssetsDefinition, MetadataValue, asset

from imgpipe.assets.gallery import Gallery, worst_first
from imgpipe.assets.metadata import shard_metadata
from imgpipe.assets.presentation import code_references, freshness, owners
from imgpipe.config import Settings
from imgpipe.engines.retry import Retry
from imgpipe.engines.shard import RowListener, ShardResult, ignore_row, run_shard
from imgpipe.inference.cuda import release_caches
from imgpipe.inference.device import may_use_cuda
from imgpipe.partitions import shard_of, shard_partitions
from imgpipe.resources.naming import asset_key, named
from imgpipe.resources.retries import infrastructure_retries
from imgpipe.resources.stores import opened_stores, stores_key
from imgpipe.settings.ray import LOCAL
from imgpipe.stages.build import build_stage
from imgpipe.stages.catalogue import QUALITY
from imgpipe.stages.chain import Step, steps
from imgpipe.storage.opening import Stores

#: Pool of the steps that use the GPU; its limit is the number of GPUs (dagster.yaml).
GPU_POOL = "gpu"
#: Images in the gallery of a partition.
_WORST_SHOWN = 6


def build_image_assets(settings: Settings, on_row: RowListener = ignore_row) -> list[AssetsDefinition]:
    """One asset per step of the chain, in order. ``on_row`` hears of every row of runs in this process."""
    return [_asset_for(step, settings, on_row) for step in steps(settings)]


def uses_gpu(step: Step, settings: Settings) -> bool:
    """True where a network runs that may run on a GPU of this machine.

    Definitions are loaded again by every process that executes a run, so that ``device: auto`` is resolved
    where the step runs: on a machine without a usable GPU it takes no slot and holds up nobody.
    """
    return step.action.runs_network(settings) and may_use_cuda(settings.device)


def _holds_gpu(step: Step, settings: Settings) -> bool:
    """Whether the step takes a GPU of this machine: on a cluster elsewhere Ray shares them out."""
    elsewhere = settings.engine == "ray" and settings.ray.cluster != LOCAL
    return uses_gpu(step, settings) and not elsewhere


def _kinds(step: Step, settings: Settings) -> set[str]:
    """What the step runs on and writes to, at most three, as the UI has icons for them."""
    row = step.action
    library = row.network_library if row.runs_network(settings) else row.library
    return {"python", library} | ({"s3"} if settings.output.startswith("s3://") else set())


def _asset_for(step: Step, settings: Settings, on_row: RowListener) -> AssetsDefinition:
    @asset(
        key=asset_key(settings, step.asset),
        partitions_def=shard_partitions(settings),
        deps=[asset_key(settings, name) for name in step.upstream],
        group_name=named(settings, "images"),
        required_resource_keys={stores_key(settings)},
        kinds=_kinds(step, settings),
        description=step.action.description,
        pool=GPU_POOL if _holds_gpu(step, settings) else None,
        metadata={
            "dataset": settings.dataset,
            "source": settings.source,
            "output": settings.output,
            **code_references(settings, step.action.stage_class(), _asset_for),
        },
        owners=owners(settings),
        freshness_policy=freshness(settings),
    )
    def image_asset(context: AssetExecutionContext) -> None:
        opened = opened_stores(context, settings)
        stage = build_stage(step, settings)
        retry = Retry.from_tags(context.run.tags)
        for key in context.partition_keys:
            with infrastructure_retries(context.run.tags, context.retry_number):
                shard = shard_of(key, settings)
                result = run_shard(step, stage, settings, opened, shard, retry=retry, on_row=on_row)
            context.log.info("%s %s: %s", step.asset, key, result.counts)
            gpu = uses_gpu(step, settings)
            metadata = shard_metadata(result, opened, settings, gpu=gpu)
            if step.asset == QUALITY:
                metadata |= _worst_pictures(result, settings, opened)
            context.add_asset_metadata(metadata, partition_key=key)
        release_caches()

    return image_asset


def _worst_pictures(result: ShardResult, settings: Settings, stores: Stores) -> dict[str, MetadataValue[Any]]:
    shown = worst_first(result.rows, _WORST_SHOWN)
    gallery = Gallery(settings, stores, result.shard)
    return gallery.metadata("worst_pictures", shown) if shown else {}
