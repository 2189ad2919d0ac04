"""A partition is a shard of many images; its key names the data set and the shard."""

from __future__ import annotations

from dagster import DynamicPartitionsDefinition

from imgpipe.config import Settings
from imgpipe.errors import ConfigError
from imgpipe.storage import keys


def shard_partitions(settings: Settings) -> DynamicPartitionsDefinition:
    """One set of partitions per data set, so that the UI offers no shard of another one."""
    return DynamicPartitionsDefinition(name=f"shards_{settings.dataset}")


def shard_of(partition_key: str, settings: Settings) -> str:
    """The shard that a partition key names; raises :class:`ConfigError` for another data set's."""
    dataset, shard = keys.split_partition_key(partition_key)
    if dataset != settings.dataset:
        raise ConfigError(
            f"partition {partition_key!r} belongs to data set {dataset!r}, but this code location is "
            f"configured for {settings.dataset!r}; start it with that data set's imgpipe.yaml"
        )
    return shard
