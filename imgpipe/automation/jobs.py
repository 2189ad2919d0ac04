"""Jobs in addition to the shard job."""

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
    """Retries the failed images of a partition and keeps all others, outdated or not.

    A run tag ``imgpipe/retry_reason`` limits it to images whose error or reasons contain that text.
    """
    return define_asset_job(
        RETRY_FAILED_JOB,
        selection=AssetSelection.assets(*(step.asset for step in steps(settings))),
        description="Retries images with status error or rejected and keeps all others. A run tag "
        "imgpipe/retry_reason limits it to images whose error or reasons contain that text.",
        tags={
            **Retry(Mode.FAILED).tags(),
            DATASET: settings.dataset,
            TRIGGER: "retry",
            RETRIES_TAG: str(settings.automation.infrastructure_retries),
        },
    )
