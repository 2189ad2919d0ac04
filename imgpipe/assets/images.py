"""The partitioned assets, one per step, made from the configured actions."""

# No postponed annotations here: Dagster reads those of the functions that it decorates.

from collections.abc import Mapping
from typing import Any

from dagster import AssetExecutionContext, AssetsDefinition, MetadataValue, asset

from imgpipe.assets.gallery import Gallery, worst_first
from imgpipe.assets.metadata import shard_metadata
from imgpipe.assets.presentation import code_references, freshness, owners
from imgpipe.config import Settings
from imgpipe.engines.retry import Retry
from imgpipe.engines.shard import ShardResult, Stores, run_shard
from imgpipe.partitions import shard_of, shard_partitions
from imgpipe.resources.retries import infrastructure_retries
from imgpipe.resources.stores import ImageStores
from imgpipe.stages.build import build_stage
from imgpipe.stages.chain import QUALITY, Step, steps
from imgpipe.stages.enhance import EnhanceStage
from imgpipe.stages.matte import MatteStage
from imgpipe.stages.read import ReadStage
from imgpipe.stages.score import ScoreStage
from imgpipe.stages.upscale import CLASSICAL, UpscaleStage

#: Pool of the steps that use the GPU; its limit is the number of GPUs (dagster.yaml).
GPU_POOL = "gpu"
#: Images in the gallery of a partition.
_WORST_SHOWN = 6

_DESCRIPTIONS: Mapping[str, str] = {
    "read": "Every source image, read and decoded once: what it is, and what cannot be used and why.",
    "enhance": "At least the configured size, saved by rule, with an 8-bit sRGB feed for segmentation.",
    "rembg": "The subject cut out: straight alpha, colours freed from the background.",
    "upscale": "Every picture enlarged, with the tile grid recorded.",
    "score": "quality.json and diff.png of every image: was it harmed, and where. `worst_pictures` shows the "
    "worst of the partition, the checks' metadata those that fail.",
}
#: action -> the class whose code does the work.
_STAGES: Mapping[str, type] = {
    "read": ReadStage,
    "enhance": EnhanceStage,
    "rembg": MatteStage,
    "upscale": UpscaleStage,
    "score": ScoreStage,
}


def build_image_assets(settings: Settings) -> list[AssetsDefinition]:
    """One asset per step of the chain, in order."""
    return [_asset_for(step, settings) for step in steps(settings)]


def uses_gpu(step: Step, settings: Settings) -> bool:
    """True where a network runs, unless the configuration keeps it on the CPU.

    With ``device: auto`` only the machine that runs the step knows; it takes the pool's slot then too,
    since an unguarded GPU costs more than a CPU step that waits.
    """
    if settings.device == "cpu":
        return False
    if step.action == "rembg":
        return settings.rembg.model != "classical"
    return step.action == "upscale" and settings.upscale.model not in CLASSICAL


def _kinds(step: Step, settings: Settings) -> set[str]:
    """What the step runs on and writes to, at most three, as the UI has signs for them."""
    network = {
        "rembg": settings.rembg.model != "classical",
        "upscale": settings.upscale.model not in CLASSICAL,
    }
    if network.get(step.action, False):
        runs_on = "onnx" if step.action == "rembg" else "pytorch"
    else:
        runs_on = {"read": "pillow", "rembg": "scipy"}.get(step.action, "opencv")
    return {"python", runs_on} | ({"s3"} if settings.output.startswith("s3://") else set())


def _asset_for(step: Step, settings: Settings) -> AssetsDefinition:
    @asset(
        name=step.asset,
        partitions_def=shard_partitions(settings),
        deps=list(step.upstream),
        group_name="images",
        kinds=_kinds(step, settings),
        description=_DESCRIPTIONS[step.action],
        pool=GPU_POOL if uses_gpu(step, settings) else None,
        metadata={
            "dataset": settings.dataset,
            "source": settings.source,
            "output": settings.output,
            **code_references(settings, _STAGES[step.action], _asset_for),
        },
        owners=owners(settings),
        freshness_policy=freshness(settings),
    )
    def image_asset(context: AssetExecutionContext, stores: ImageStores) -> None:
        opened = stores.open(settings)
        stage = build_stage(step, settings)
        retry = Retry.from_tags(context.run.tags)
        for key in context.partition_keys:
            with infrastructure_retries(context.run.tags, context.retry_number):
                result = run_shard(step, stage, settings, opened, shard_of(key, settings), retry=retry)
            context.log.info("%s %s: %s", step.asset, key, result.counts)
            gpu = uses_gpu(step, settings)
            metadata = shard_metadata(result, opened, settings, gpu=gpu)
            if step.asset == QUALITY:
                metadata |= _worst_pictures(result, settings, opened)
            context.add_asset_metadata(metadata, partition_key=key)

    return image_asset


def _worst_pictures(result: ShardResult, settings: Settings, stores: Stores) -> dict[str, MetadataValue[Any]]:
    shown = worst_first(result.rows, _WORST_SHOWN)
    gallery = Gallery(settings, stores, result.shard)
    return gallery.metadata("worst_pictures", shown) if shown else {}
