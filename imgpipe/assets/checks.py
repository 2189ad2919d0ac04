"""Asset checks per partition.

Checks with partitions are a preview API of Dagster; it is used in this module alone. In a run
of one partition, an ``AssetCheckResult`` is stored with that partition. In a run of several, it would be
stored without one, so one evaluation per partition is yielded instead.
"""

# No postponed annotations here: Dagster reads those of the functions that it decorates.

import warnings
from collections.abc import Iterator
from typing import Any

from dagster import (
    AssetCheckEvaluation,
    AssetCheckExecutionContext,
    AssetCheckResult,
    AssetChecksDefinition,
    AssetCheckSpec,
    AssetKey,
    Output,
    multi_asset_check,
)
from dagster_shared.utils.warnings import PreviewWarning

from imgpipe.assets.findings import DESCRIPTIONS, check_names, evaluate
from imgpipe.assets.gallery import Gallery
from imgpipe.config import Settings
from imgpipe.partitions import shard_of, shard_partitions
from imgpipe.resources.naming import asset_key, named
from imgpipe.resources.stores import opened_stores, stores_key
from imgpipe.stages.chain import steps
from imgpipe.storage.manifests import read_manifest
from imgpipe.storage.tables import read_table


def build_checks(settings: Settings) -> list[AssetChecksDefinition]:
    """One definition per asset; the scores are checked on ``quality_reports``."""
    return [_checks_of(step.asset, settings) for step in steps(settings)]


def _checks_of(asset: str, settings: Settings) -> AssetChecksDefinition:
    names = check_names(asset, reviewed=settings.review.enabled)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PreviewWarning)
        specs = [
            AssetCheckSpec(
                name,
                asset=asset_key(settings, asset),
                description=DESCRIPTIONS[name],
                partitions_def=shard_partitions(settings),
            )
            for name in names
        ]

    @multi_asset_check(
        name=named(settings, f"{asset}_checks"), specs=specs, required_resource_keys={stores_key(settings)}
    )
    def checks(context: AssetCheckExecutionContext) -> Iterator[Any]:
        opened = opened_stores(context, settings)
        keys = context.op_execution_context.partition_keys
        for key in keys:
            shard = shard_of(key, settings)
            manifest = read_manifest(opened.output, settings.dataset, shard)
            rows, _ = read_table(opened.output, asset, settings.dataset, shard)
            gallery = Gallery(settings, opened, shard)
            for name in names:
                share = settings.assets.max_rejected_share
                result = evaluate(name, rows, manifest, opened, gallery, max_rejected_share=share)
                yield result if len(keys) == 1 else _evaluation(asset_key(settings, asset), name, result, key)
        if len(keys) != 1:
            for spec in specs:
                yield Output(None, output_name=spec.get_python_identifier())

    return checks


def _evaluation(asset: AssetKey, name: str, result: AssetCheckResult, partition: str) -> AssetCheckEvaluation:
    return AssetCheckEvaluation(
        asset_key=asset,
        check_name=name,
        passed=result.passed,
        severity=result.severity,
        description=result.description,
        metadata=result.metadata,
        partition=partition,
    )
