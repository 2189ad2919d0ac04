"""Jobs beside the one that makes a shard."""

from __future__ import annotations

from dagster import AssetSelection, define_asset_job
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from imgpipe.automation.tags import DATASET, TRIGGER
from imgpipe.config import Settings
from imgpipe.engines.retry import Mode, Retry
from imgpipe.resources.retries import RETRIES_TAG
from imgpipe.stages.chain import steps

RETRY_FAILED_JOB = "retry_failed_job"


def build_retry_job(settings: Settings) -> UnresolvedAssetJobDefinition:
    """Tries the failed images of a partition again and keeps everything else, outdated or not.

    A tag ``imgpipe/retry_reason`` on the run narrows it to images in whose error or reasons that text stands.
    """
    return define_asset_job(
        RETRY_FAILED_JOB,
        selection=AssetSelection.assets(*(step.asset for step in steps(settings))),
        description="Images with status error or rejected once more; all others are kept as they are. Tag "
        "the run with imgpipe/retry_reason to choose among them by the text of their error or reasons.",
        tags={
            **Retry(Mode.FAILED).tags(),
            DATASET: settings.dataset,
            TRIGGER: "retry",
            RETRIES_TAG: str(settings.automation.infrastructure_retries),
        },
    )
