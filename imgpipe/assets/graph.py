"""All definitions of one configured data set: assets, checks, jobs, resources."""

from __future__ import annotations

from collections.abc import Callable

from dagster import AssetSelection, Definitions, define_asset_job, in_process_executor

from imgpipe.assets.checks import build_checks
from imgpipe.assets.images import build_image_assets
from imgpipe.assets.report import REVIEW_QUEUE, build_queue_asset, build_report_asset
from imgpipe.config import Settings
from imgpipe.engines.shard import RowListener, ignore_row
from imgpipe.resources.naming import asset_key, named
from imgpipe.resources.slots import sleep_between_claims
from imgpipe.resources.stores import ImageStores, s3_resource, stores_key
from imgpipe.stages.chain import REPORT, steps

SHARD_JOB = "shard_job"
REPORT_JOB = "report_job"


def build_definitions(
    settings: Settings, on_row: RowListener = ignore_row, say: Callable[[str], None] | None = None
) -> Definitions:
    """The asset graph that follows from ``settings.actions``, with checks, two jobs and the stores.

    ``on_row`` hears of every row that runs in this process finish, ``say`` how far a report has come.
    """
    sleep_between_claims()
    image_assets = [asset_key(settings, step.asset) for step in steps(settings)]
    return Definitions(
        assets=[
            *build_image_assets(settings, on_row),
            build_report_asset(settings, say),
            build_queue_asset(settings),
        ],
        asset_checks=build_checks(settings),
        jobs=[
            define_asset_job(
                named(settings, SHARD_JOB),
                selection=AssetSelection.assets(*image_assets),
                description="All stages of one shard, one after the other in one process.",
            ),
            define_asset_job(
                named(settings, REPORT_JOB),
                selection=AssetSelection.assets(
                    asset_key(settings, REPORT), asset_key(settings, REVIEW_QUEUE)
                ),
                description="The data set's report and review queue, from the tables of all its shards.",
            ),
        ],
        resources={stores_key(settings): ImageStores(s3=s3_resource(settings.s3))},
        # In one process the models stay warm from asset to asset.
        executor=in_process_executor,
    )
