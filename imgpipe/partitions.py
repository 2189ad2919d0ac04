"""A partition is a shard of many images; its key names the data set and the shard."""

from __future__ import annotations

from collections.abc import Iterable

from dagster import DagsterInstance, DynamicPartitionsDefinition

from imgpipe.config import Settings
from imgpipe.errors import ConfigError
from imgpipe.storage import keys


def shard_partitions(settings: Settings) -> DynamicPartitionsDefinition:
    """One set of partitions per data set, so that the UI offers no shard of another one."""
    return DynamicPartitionsDefinition(name=_name(settings))


def unknown_partitions(settings: Settings, instance: DagsterInstance, shards: Iterable[str]) -> list[str]:
    """Partition keys of those shards that Dagster does not know yet, in the given order."""
    known = set(instance.get_dynamic_partitions(_name(settings)))
    wanted = (keys.partition_key(settings.dataset, shard) for shard in shards)
    return [key for key in wanted if key not in known]


def add_partitions(settings: Settings, instance: DagsterInstance, shards: Iterable[str]) -> None:
    """Add the shards to Dagster's partitions; existing ones are not changed."""
    new = unknown_partitions(settings, instance, shards)
    if new:
        instance.add_dynamic_partitions(_name(settings), new)


def shard_of(partition_key: str, settings: Settings) -> str:
    """The shard that a partition key names; raises :class:`ConfigError` for another data set's."""
    dataset, shard = keys.split_partition_key(partition_key)
    if dataset != settings.dataset:
        raise ConfigError(
            f"partition {partition_key!r} belongs to data set {dataset!r}, but this code location is "
            f"configured for {settings.dataset!r}; start it with that data set's imgpipe.yaml"
        )
    return shard


def _name(settings: Settings) -> str:
    return f"shards_{settings.dataset}"
