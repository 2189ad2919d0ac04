"""Everything that an output holds of a shard, one shard after the other.

All listings run side by side and are merged by (data set, shard): memory holds the names of one shard.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter

from imgpipe.records import SourceObject
from imgpipe.stages.catalogue import CATALOGUE, output_folders
from imgpipe.storage import keys
from imgpipe.storage.store import ImageStore

Place = tuple[str, str]
_UNFINISHED = "unfinished_"


@dataclass
class ShardObjects:
    """What is there of one shard: whether a manifest, which leases, tables (by asset, finished and not), and
    the size in bytes of every file of its stages by key."""

    dataset: str
    shard: str
    manifest: bool = False
    leases: list[str] = field(default_factory=list)
    tables: set[str] = field(default_factory=set)
    unfinished: set[str] = field(default_factory=set)
    files: dict[str, int] = field(default_factory=dict)

    def add(self, found: SourceObject) -> None:
        """Count in an object."""
        first, second, *_ = found.key.split("/")
        if found.key.startswith(keys.MANIFESTS):
            self.manifest = True
        elif first == "leases":
            self.leases.append(found.key)
        elif first != "tables":
            self.files[found.key] = found.size_bytes
        elif second.startswith(_UNFINISHED):
            self.unfinished.add(second.removeprefix(_UNFINISHED))
        else:
            self.tables.add(second)


def survey(output: ImageStore, dataset: str = "", shard: str = "") -> Iterator[ShardObjects]:
    """Every shard of which there is anything, by data set and name; all, those of a data set, or one."""
    assets = [action.asset for action in CATALOGUE.values()]
    prefixes = keys.place_prefixes(assets, output_folders(), dataset, shard)
    everything = heapq.merge(*(_placed(output, prefix) for prefix in prefixes), key=itemgetter(0))
    for place, found in groupby(everything, key=itemgetter(0)):
        objects = ShardObjects(*place)
        for _, item in found:
            objects.add(item)
        if shard in ("", objects.shard):
            yield objects


def _placed(output: ImageStore, prefix: str) -> Iterator[tuple[Place, SourceObject]]:
    for found in output.list(prefix):
        place = keys.place_of(found.key)
        if place is not None:
            yield place, found
