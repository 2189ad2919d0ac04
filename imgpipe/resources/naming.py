"""Names of a data set's definitions in Dagster.

The stores' key is one of them, so that functions find them in ``context.resources``. Sensors and schedules
that are called directly, as tests do, get them by name as well, which their ``**_`` takes.
"""

from __future__ import annotations

from dagster import AssetKey

from imgpipe.config import Settings


def asset_key(settings: Settings, asset: str) -> AssetKey:
    """The key of an asset: below ``assets.key_prefix`` where that is set."""
    prefix = settings.assets.key_prefix
    return AssetKey([prefix, asset] if prefix else asset)


def named(settings: Settings, name: str) -> str:
    """The name of a job, sensor, schedule or resource, which Dagster has once in a code location."""
    return "_".join(filter(None, (settings.assets.key_prefix, name)))
