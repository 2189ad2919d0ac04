"""Every key of the output layout is built here, and nowhere else.

    shards/<dataset>/<shard>.parquet                     the sealed manifest
    shards/<dataset>/waiting.parquet                     new sources whose shard is not full yet
    shards/<dataset>/source.json                         the address of the source
    <stage>/<dataset>/<shard>/<image_id>.<ext>           stage: matted, fixed, upscaled
    enhanced/<dataset>/<shard>/<image_id>/<filename>     source_enhanced.png, segmentation_feed.png
    rejected/<stage>/...                                 the same, of images that were rejected
    quality/<dataset>/<shard>/<image_id>/<filename>      quality.json, diff.png
    tables/<asset>/<dataset>/<shard>.parquet             one row per input image
    tables/unfinished_<asset>/...                        the rows so far of a stage that is not finished, and
                                                         a note of the images that are in flight
    reports/<dataset>/<filename>                         index.html, images.parquet
    leases/<dataset>/<name>-<number>.json                who works on a shard, or plans; gone when it is done
    review/<dataset>/<asset>/<shard>/<image_id>/         decisions 00001.json, ... and handed-in files
    verdicts/<dataset>/<digest>.json                     verdicts of a reviewer that costs money
    uploads/<dataset>/<token>/picture.<ext>              what jobs were given: the source of their data set

Prefixes end with ``/`` and are made for :meth:`ImageStore.list`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from imgpipe.errors import ConfigError
from imgpipe.names import dataset_name, is_dataset_name, is_file_name, readable_name

_SHARD = re.compile(r"[0-9]{5,}")
_FOLDER = re.compile(r"[a-z][a-z0-9_]*")
_EXTENSION = re.compile(r"[a-z0-9]+")
_DECISION = re.compile(r"review/[^/]+/([^/]+)/([0-9]{5,})/[^/]+/[0-9]{5}\.json")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_TOKEN = re.compile(r"[0-9a-f]{20}")
_LEASE = re.compile(r"[a-z0-9]+")
_LEASE_NUMBER = re.compile(r"-([0-9]{8,})\.json$")
_RESULT = re.compile(
    r"(?P<root>(?:.*?/)??)(?:rejected/)?(?:"
    r"[a-z][a-z0-9_]*/[^/]+/[0-9]{5,}/[^/]+-[0-9a-f]{20}[./].+"  # a picture or a score
    r"|review/[^/]+/[a-z0-9_]+/[0-9]{5,}/[^/]+-[0-9a-f]{20}/.+"
    r"|verdicts/[^/]+/[0-9a-f]{64}\.json"
    r"|reports/[^/]+/thumbs/[^/]+-[0-9a-f]{20}\..+\.webp"
    r"|leases/[^/]+/[a-z0-9]+-[0-9]{8,}\.json"
    r"|uploads/[^/]+/[0-9a-f]{20}/picture\.[a-z0-9]+"
    r"|(?:tables/[a-z0-9_]+|shards)/[^/]+/[0-9]{5,}(?:\.parquet|-in-flight\.json|-rows-[0-9]{5}\.json))"
)
_PLACE = re.compile(
    r"(?:(?:rejected/)?[a-z][a-z0-9_]*/(?P<dataset>[a-z0-9_]+)/(?P<shard>[0-9]{5,})/[^/]+-[0-9a-f]{10,20}[./].+"
    r"|(?:shards|leases|tables/[a-z0-9_]+)/(?P<dataset_>[a-z0-9_]+)/(?P<shard_>[0-9]{5,})[.-].+)"
)
_STEM_BYTES = 120
_ID_DIGITS = 20
_REJECTED = "rejected/"

#: Where the sealed manifests of all data sets lie.
MANIFESTS = "shards/"


def image_id(source_key: str) -> str:
    """A name for an image: its file name without the ending, as letters of every script
    (:func:`~imgpipe.names.readable_name`, at most 120 bytes), a dash, and 20 hex digits.

    The digits are the first 80 bits of the sha256 of the **whole** key, so that ``a/x.jpg``, ``a_x.jpg`` and
    ``b/x.png`` differ, also where case does not count. Among n images two are equal with a probability of
    about n^2 / 2^81: 4e-9 for 10^8 images. A sealed manifest's ``image_id`` is the authority; those of
    earlier versions may have 10 digits and an ASCII stem.
    """
    name = source_key.rsplit("/", 1)[-1]
    stem = name.rpartition(".")[0] or name
    readable = readable_name(stem, _STEM_BYTES, also="-") or "image"
    digest = hashlib.sha256(source_key.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{readable}-{digest[:_ID_DIGITS]}"


def shard_name(index: int) -> str:
    """``0`` -> ``"00000"``; above 99,999 the name grows, so sort shards by number (:func:`shard_index`)."""
    if index < 0:
        raise ConfigError(f"shard: expected an index of 0 or more, got {index}")
    return f"{index:05d}"


def shard_index(shard: str) -> int:
    """``"00012"`` -> ``12``."""
    return int(_checked("shard", shard, _SHARD, "five or more digits as in 00000"))


def partition_key(dataset: str, shard: str) -> str:
    """``("demo", "00000")`` -> ``"demo-00000"``."""
    return f"{check_dataset(dataset)}-{_shard(shard)}"


def split_partition_key(key: str) -> tuple[str, str]:
    """``"demo-00000"`` -> ``("demo", "00000")``; a data set's name holds no dash."""
    dataset, dash, shard = key.partition("-")
    if not dash:
        raise ConfigError(f"partition: expected <dataset>-<shard> as in demo-00000, got {key!r}")
    return check_dataset(dataset), _shard(shard)


def check_dataset(dataset: str) -> str:
    """The name itself; raises :class:`ConfigError` unless :func:`~imgpipe.names.is_dataset_name`."""
    if not is_dataset_name(dataset):
        example = dataset_name(dataset)
        raise ConfigError(
            f"dataset: expected lower-case letters, digits and _ as in {example}, got {dataset!r}"
        )
    return dataset


def manifest_prefix(dataset: str) -> str:
    """Where the data set's sealed manifests lie."""
    return f"{MANIFESTS}{check_dataset(dataset)}/"


def manifest_key(dataset: str, shard: str) -> str:
    """The sealed manifest of a shard."""
    return f"{manifest_prefix(dataset)}{_shard(shard)}.parquet"


def shard_of_manifest(key: str) -> str | None:
    """The shard that a manifest's key names, ``None`` for any other key."""
    name = key.rsplit("/", 1)[-1].removesuffix(".parquet")
    return name if key.endswith(".parquet") and _SHARD.fullmatch(name) else None


def waiting_key(dataset: str) -> str:
    """New sources whose shard is not full yet; it lies beside the manifests."""
    return f"{manifest_prefix(dataset)}waiting.parquet"


def source_record_key(dataset: str) -> str:
    """The address of the data set's source; it lies beside the manifests."""
    return f"{manifest_prefix(dataset)}source.json"


def root_of_result(key: str) -> str | None:
    """The folder (ending in ``/``, or empty) of the output that an object looks to be a result of.

    ``None`` for any other key. A picture or score is known by its folder of five digits and the 20 hex digits
    at the end of its image id.
    """
    found = _RESULT.fullmatch(key)
    return None if found is None else found["root"]


def place_of(key: str) -> tuple[str, str] | None:
    """(data set, shard) of a manifest, lease, table or stage's file; ``None`` for any other key.

    Among keys that begin alike up to the data set, places are in the order of keys.
    """
    found = _PLACE.fullmatch(key)
    if found is None:
        return None
    return found["dataset"] or found["dataset_"], found["shard"] or found["shard_"]


def is_in_report(key: str, dataset: str) -> bool:
    """Whether it is a file of the data set's report, or a stage's, to which a report links."""
    found = _PLACE.fullmatch(key)
    return key.startswith(report_prefix(dataset)) or (found is not None and found["dataset"] == dataset)


def place_prefixes(
    assets: Iterable[str], stage_folders: Iterable[str], dataset: str = "", shard: str = ""
) -> list[str]:
    """Where manifests, leases, tables and the stages' files lie: of a shard, a data set, or all data sets."""
    inside = f"{check_dataset(dataset)}/{_shard(shard) if shard else ''}" if dataset else ""
    tables = [f"tables/{unfinished}{asset}/" for asset in assets for unfinished in ("", "unfinished_")]
    files = [f"{rejected}{folder}/" for folder in stage_folders for rejected in ("", _REJECTED)]
    return [top + inside for top in (MANIFESTS, "leases/", *tables, *files)]


def image_prefix(stage_folder: str, dataset: str, shard: str) -> str:
    """Where a stage's images of one shard lie, except the rejected ones."""
    folder = _checked("stage folder", stage_folder, _FOLDER, "a name as in matted")
    return f"{folder}/{check_dataset(dataset)}/{_shard(shard)}/"


def image_key(stage_folder: str, dataset: str, shard: str, image_id: str, extension: str) -> str:
    """One image of a stage; the extension with or without its dot, in any case."""
    suffix = _checked("extension", extension.lower().lstrip("."), _EXTENSION, "one as in png")
    return f"{image_prefix(stage_folder, dataset, shard)}{_image(image_id)}.{suffix}"


def file_key(stage_folder: str, dataset: str, shard: str, image_id: str, filename: str) -> str:
    """One of several files of an image, as in ``quality/.../<image_id>/diff.png``."""
    return f"{image_prefix(stage_folder, dataset, shard)}{_image(image_id)}/{_filename(filename)}"


def image_of(key: str) -> str:
    """The image id in the key of a stage's file: ``matted/demo/00000/<image_id>.png`` and the like."""
    return key.removeprefix(_REJECTED).split("/")[3].partition(".")[0]


def image_prefixes(stage_folder: str, dataset: str, shard: str) -> tuple[str, ...]:
    """Where a stage's images of one shard lie: the good ones, and the rejected ones."""
    good = image_prefix(stage_folder, dataset, shard)
    return tuple(dict.fromkeys((good, placed_key(good, rejected=True))))


def placed_key(key: str, *, rejected: bool) -> str:
    """The key of a stage's file among the rejected results, or among the good ones.

    ``quality`` reports on good and rejected images alike, so its files stay where they are.
    """
    good = key.removeprefix(_REJECTED)
    return _REJECTED + good if rejected and not good.startswith("quality/") else good


def table_prefix(asset: str, dataset: str) -> str:
    """Where an asset's tables of one data set lie."""
    return f"tables/{_checked('asset', asset, _FOLDER, 'a name as in raw_images')}/{check_dataset(dataset)}/"


def table_key(asset: str, dataset: str, shard: str) -> str:
    """An asset's table of one shard; its presence is the commit."""
    return f"{table_prefix(asset, dataset)}{_shard(shard)}.parquet"


def journal_prefix(asset: str, dataset: str, shard: str) -> str:
    """What the keys begin with of everything that is written down of an unfinished table."""
    return table_prefix(asset, dataset) + _shard(shard)


def journal_key(asset: str, dataset: str, shard: str, number: int) -> str:
    """Some of the rows so far of an unfinished table."""
    return f"{journal_prefix(asset, dataset, shard)}-rows-{number:05d}.json"


def in_flight_key(asset: str, dataset: str, shard: str) -> str:
    """A note of the images that an unfinished table's process works on."""
    return f"{table_prefix(asset, dataset)}{_shard(shard)}-in-flight.json"


def report_prefix(dataset: str) -> str:
    """Where the data set's report lies."""
    return f"reports/{check_dataset(dataset)}/"


def report_key(dataset: str, filename: str) -> str:
    """A file of the data set's report; ``filename`` may have folders, as in ``thumbnails/x.webp``."""
    return report_prefix(dataset) + "/".join(_filename(part) for part in filename.split("/"))


def review_prefix(dataset: str) -> str:
    """Where everything that people decided about a data set lies."""
    return f"review/{check_dataset(dataset)}/"


def decision_prefix(dataset: str, asset: str, shard: str) -> str:
    """Where the decisions about one asset's pictures of one shard lie."""
    name = _checked("asset", asset, _FOLDER, "a name as in upscaled_images")
    return f"{review_prefix(dataset)}{name}/{_shard(shard)}/"


def decision_key(dataset: str, asset: str, shard: str, image_id: str, number: int) -> str:
    """The ``number``-th decision (1..99999) about one image at one asset."""
    if not 1 <= number <= 99_999:
        raise ConfigError(f"decision: expected a number of 1..99999, got {number}")
    return f"{decision_prefix(dataset, asset, shard)}{_image(image_id)}/{number:05d}.json"


def handed_in_key(
    dataset: str, asset: str, shard: str, image_id: str, number: int, sha256: str, extension: str
) -> str:
    """The file that the ``number``-th decision puts in place of a stage's output; named by its digest too,
    so that two people who hand in files at the same moment do not overwrite each other's."""
    suffix = _checked("extension", extension.lower().lstrip("."), _EXTENSION, "one as in png")
    place = decision_key(dataset, asset, shard, image_id, number).removesuffix(".json")
    return f"{place}-{_checked('sha256', sha256, _SHA256, '64 hex digits')[:12]}.{suffix}"


def decision_of(key: str) -> tuple[str, str] | None:
    """(asset, shard) of a decision's key, ``None`` for any other key."""
    found = _DECISION.fullmatch(key)
    return None if found is None else (found.group(1), found.group(2))


def verdict_key(dataset: str, digest: str) -> str:
    """A reviewer's verdict; ``digest``: 64 hex digits, of the pictures and of the reviewer."""
    return f"verdicts/{check_dataset(dataset)}/{_checked('digest', digest, _SHA256, '64 hex digits')}.json"


def leases_folder(dataset: str) -> str:
    """Where the leases of a data set lie, a prefix."""
    return f"leases/{check_dataset(dataset)}/"


def lease_prefix(dataset: str, name: str) -> str:
    """What the keys of a lease begin with; ``name``: a shard, or a word as in ``plan``."""
    return f"{leases_folder(dataset)}{_checked('lease', name, _LEASE, 'a shard or a word')}-"


def lease_key(dataset: str, name: str, number: int) -> str:
    """A lease; each holder has the next number."""
    return f"{lease_prefix(dataset, name)}{number:08d}.json"


def lease_number(key: str) -> int:
    """The number in a lease's key; 0 for any other key."""
    found = _LEASE_NUMBER.search(key)
    return 0 if found is None else int(found.group(1))


def lease_name(key: str) -> str:
    """The name in a lease's key; empty for any other key."""
    name = key.rpartition("/")[2].rpartition("-")[0]
    return name if lease_number(key) and _LEASE.fullmatch(name) else ""


def uploads_folder(dataset: str) -> str:
    """Where the pictures lie that jobs were given; :func:`upload_key` is a key below it."""
    return f"uploads/{check_dataset(dataset)}"


def upload_key(token: str, extension: str) -> str:
    """A job's picture among the sources of its data set; ``token``: 20 hex digits of its own."""
    name = _checked("token", token, _TOKEN, "20 hex digits")
    return f"{name}/picture.{_checked('extension', extension.lower(), _EXTENSION, 'one as in png')}"


def _shard(shard: str) -> str:
    return _checked("shard", shard, _SHARD, "five or more digits as in 00000")


def _image(image_id: str) -> str:
    return _checked_name("image id", image_id, "one made by image_id()")


def _filename(filename: str) -> str:
    return _checked_name("file name", filename, "letters, digits, _, - and . as in quality.json")


def _checked_name(what: str, value: str, expected: str) -> str:
    if not is_file_name(value):
        raise ConfigError(f"{what}: expected {expected}, got {value!r}")
    return value


def _checked(what: str, value: str, pattern: re.Pattern[str], expected: str) -> str:
    if not pattern.fullmatch(value):
        raise ConfigError(f"{what}: expected {expected}, got {value!r}")
    return value
