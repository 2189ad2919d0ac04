"""The partitioned assets, one per step, made from the configured actions."""

# No postponed annotations here: Dagster reads those of the functions that it decorates.

from collections.abc import Mapping

from dagster import AssetExecutionContext, AssetsDefinition, asset

from imgpipe.assets.metadata import shard_metadata
from imgpipe.config import Settings
from imgpipe.engines.shard import run_shard
from imgpipe.partitions import shard_of, shard_partitions
from imgpipe.resources.stores import ImageStores
from imgpipe.stages.build import build_stage
from imgpipe.stages.chain import Step, steps

#: Pool of the steps that use the GPU; its limit is the number of GPUs (dagster.yaml).
GPU_POOL = "gpu"

_DESCRIPTIONS: Mapping[str, str] = {
    "read": "Every source image, read and decoded once: what it is, and what cannot be used and why.",
    "enhance": "At least the configured size, saved by rule, with an 8-bit sRGB feed for segmentation.",
    "rembg": "The subject cut out: straight alpha, colours freed from the background.",
    "upscale": "Every picture enlarged, with the tile grid recorded.",
    "score": "quality.json and diff.png of every image: was it harmed, and where.",
}
_KINDS: Mapping[str, set[str]] = {
    "read": {"python"},
    "enhance": {"python", "opencv"},
    "rembg": {"python", "onnx"},
    "upscale": {"python", "pytorch"},
    "score": {"python", "opencv"},
}


def build_image_assets(settings: Settings) -> list[AssetsDefinition]:
    """One asset per step of the chain, in order."""
    return [_asset_for(step, settings) for step in steps(settings)]


def uses_gpu(step: Step, settings: Settings) -> bool:
    """True where a network runs, unless the configuration keeps it on the CPU."""
    if settings.device == "cpu":
        return False
    if step.action == "rembg":
        return settings.rembg.model != "classical"
    return step.action == "upscale" and settings.upscale.model not in ("lanczos", "bicubic")


def _asset_for(step: Step, settings: Settings) -> AssetsDefinition:
    @asset(
        name=step.asset,
        partitions_def=shard_partitions(settings),
        deps=list(step.upstream),
        group_name="images",
        kinds=_KINDS[step.action],
        description=_DESCRIPTIONS[step.action],
        pool=GPU_POOL if uses_gpu(step, settings) else None,
        metadata={"dataset": settings.dataset, "source": settings.source, "output": settings.output},
    )
    def image_asset(context: AssetExecutionContext, stores: ImageStores) -> None:
        opened = stores.open(settings)
        stage = build_stage(step, settings)
        for key in context.partition_keys:
            result = run_shard(step, stage, settings, opened, shard_of(key, settings))
            context.log.info("%s %s: %s", step.asset, key, result.counts)
            context.add_asset_metadata(shard_metadata(result, opened), partition_key=key)

    return image_asset
