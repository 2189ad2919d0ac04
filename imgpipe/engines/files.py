"""Lists every file of one image with its kind, as its rows record it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from imgpipe.errors import ConfigError, ObjectUnreadable
from imgpipe.records import ImageRow, Status
from imgpipe.stages.catalogue import CATALOGUE, RAW, kind_of
from imgpipe.stages.chain import Step
from imgpipe.storage import keys
from imgpipe.storage.manifests import list_datasets, list_shards, read_manifest
from imgpipe.storage.source_names import SourceName, not_found
from imgpipe.storage.store import ImageStore
from imgpipe.storage.tables import read_files, read_standing


@dataclass(frozen=True, slots=True)
class ImageFile:
    """``kind``: ``source``, or one of the kinds in the stage catalogue.

    ``address``: a key of the source for kind ``source``, else a path or s3:// address in the output, where
    ``key`` is its key and ``name`` what tells it from the image's other files.
    """

    kind: str
    asset: str
    address: str
    key: str = ""
    name: str = "source"


def image_files(output: ImageStore, name: str, dataset: str | None = None) -> list[ImageFile]:
    """The files of an image in the order in which they are made.

    ``name``: as a person gives it, see :mod:`imgpipe.storage.source_names`. ``dataset``: where to look; all
    data sets of the output without it. Raises :class:`ConfigError` where no shard, or where several data
    sets, have the image.
    """
    found: dict[str, tuple[str, str]] = {}
    similar: list[str] = []
    unreadable: list[str] = []
    for each in [dataset] if dataset else list_datasets(output):
        wanted = SourceName(output, each, name)
        for shard in list_shards(output, each):
            try:
                entries = read_manifest(output, each, shard).entries
            except ObjectUnreadable as exc:
                unreadable.append(f"; {exc}")
                continue
            image_id = wanted.find((entry.image_id, entry.source_key) for entry in entries)
            if image_id is not None:
                found[each] = (shard, image_id)
                break
        similar += wanted.similar
    if not found:
        raise not_found(name, f"no shard in {output.url}{''.join(unreadable)}", dict.fromkeys(similar))
    if len(found) > 1:
        raise ConfigError(f"{name}: several data sets have it: {', '.join(found)}; choose by --dataset")
    ((each, (shard, image_id)),) = found.items()
    return list(files_of(output, each, shard, image_id))


def files_by_kind(rows: Sequence[ImageRow]) -> dict[str, int]:
    """How many files of each kind a table names."""
    return dict(Counter(kind_of(name) for row in rows for name in row.files))


def delete_replaced(output: ImageStore, previous: Mapping[str, ImageRow], rows: Sequence[ImageRow]) -> None:
    """Delete the files of earlier rows that the new ones do not name.

    They were written under another key (another format or status), or an earlier stage rejects the image now.
    Where a new row has no files for another reason (an error, a deleted source), the earlier ones stay.
    """
    for row in rows:
        before = previous.get(row.image_id)
        if before is not None and (row.files or row.status is Status.REJECTED):
            for key in set(before.files.values()) - set(row.files.values()):
                output.delete(key)


def existing_outputs(output: ImageStore, step: Step, dataset: str, shard: str) -> dict[str, int]:
    """Size in bytes by key of what a step has written for a shard; empty for one that writes no pictures.

    Files of 0 bytes are left out: no step writes one.
    """
    if not step.action.folder:
        return {}
    prefixes = keys.image_prefixes(step.action.folder, dataset, shard)
    found = (item for prefix in prefixes for item in output.list(prefix))
    return {item.key: item.size_bytes for item in found if item.size_bytes}


def lost_outputs(output: ImageStore, step: Step, dataset: str, shard: str) -> list[str]:
    """Keys of the files that the step's table names and that are not there, or have another size."""
    if not step.action.folder:
        return []
    existing = existing_outputs(output, step, dataset, shard)
    named = read_files(output, step.asset, dataset, shard, several=step.action.own_folder).items()
    return [key for key, size in named if key not in existing or size not in (None, existing[key])]


def files_of(output: ImageStore, dataset: str, shard: str, image_id: str) -> Iterator[ImageFile]:
    """As :func:`image_files`, of an image of this shard."""
    assets = (action.asset for action in CATALOGUE.values())
    for asset, rows in read_standing(output, assets, dataset, shard).items():
        row = rows[image_id]
        if asset == RAW:
            yield ImageFile("source", asset, row.source_key)
        for name, key in row.files.items():
            ending = "" if "." in name else key[key.rindex(".") :]
            yield ImageFile(kind_of(name), asset, output.uri(key), key, name + ending)
