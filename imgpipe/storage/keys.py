"""Every key of the output layout is built here, and nowhere else.

    shards/<dataset>/<shard>.parquet                     the sealed manifest
    shards/<dataset>/waiting.parquet                     new sources whose shard is not full yet
    <stage>/<dataset>/<shard>/<image_id>.<ext>           stage: matted, fixed, upscaled, enhanced
    quality/<dataset>/<shard>/<image_id>/<filename>      quality.json, diff.png
    tables/<asset>/<dataset>/<shard>.parquet             one row per input image
    reports/<dataset>/<filename>                         index.html, images.parquet
    review/<dataset>/<asset>/<shard>/<image_id>/         decisions 00001.json, ... and handed-in files

Prefixes end with ``/`` and are made for :meth:`ImageStore.list`.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata

from imgpipe.errors import ConfigError

_DATASET = re.compile(r"[a-z0-9][a-z0-9_]*")
_SHARD = re.compile(r"[0-9]{5,}")
_FOLDER = re.compile(r"[a-z][a-z0-9_]*")
_EXTENSION = re.compile(r"[a-z0-9]+")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_DECISION = re.compile(r"review/[^/]+/([^/]+)/([0-9]{5,})/[^/]+/[0-9]{5}\.json")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_STEM_LENGTH = 80

#: Where the sealed manifests of all data sets lie.
MANIFESTS = "shards/"


def image_id(source_key: str, *, digits: int = 10) -> str:
    """A name for an image that is readable, unique, and safe on every file system.

    The key's ASCII stem (at most 80 characters of A-Z, a-z, 0-9, _ and -, never first a - or a dot), a dash,
    and ``digits`` hex digits of the sha256 of the **whole** key, so that ``a/x.jpg``, ``a_x.jpg`` and
    ``b/x.png`` differ. A manifest's ``image_id`` is the authority: planning asks for more digits in
    the rare case that two sources of one data set would share an id.
    """
    name = source_key.rsplit("/", 1)[-1]
    stem = name.rpartition(".")[0] or name
    ascii_stem = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()
    readable = re.sub(r"[^A-Za-z0-9_-]+", "_", ascii_stem)[:_STEM_LENGTH].strip("_-") or "image"
    digest = hashlib.sha256(source_key.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{readable}-{digest[:digits]}"


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
    """The name itself; raises :class:`ConfigError` unless it matches ``[a-z0-9][a-z0-9_]*``."""
    return _checked("dataset", dataset, _DATASET, "lower-case letters, digits and _ as in demo_2")


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
    """New sources whose shard is not full yet; it lies beside the manifests and is none of them."""
    return f"{manifest_prefix(dataset)}waiting.parquet"


def image_prefix(stage_folder: str, dataset: str, shard: str) -> str:
    """Where a stage's images of one shard lie."""
    folder = _checked("stage folder", stage_folder, _FOLDER, "a name as in matted")
    return f"{folder}/{check_dataset(dataset)}/{_shard(shard)}/"


def image_key(stage_folder: str, dataset: str, shard: str, image_id: str, extension: str) -> str:
    """One image of a stage; the extension with or without its dot, in any case."""
    suffix = _checked("extension", extension.lower().lstrip("."), _EXTENSION, "one as in png")
    return f"{image_prefix(stage_folder, dataset, shard)}{_image(image_id)}.{suffix}"


def file_prefix(stage_folder: str, dataset: str, shard: str, image_id: str) -> str:
    """Where a stage that makes several files of one image puts them."""
    return f"{image_prefix(stage_folder, dataset, shard)}{_image(image_id)}/"


def file_key(stage_folder: str, dataset: str, shard: str, image_id: str, filename: str) -> str:
    """One of several files of an image, as in ``quality/.../<image_id>/diff.png``."""
    return f"{file_prefix(stage_folder, dataset, shard, image_id)}{_filename(filename)}"


def image_of(key: str) -> str:
    """The image id in the key of a stage's file: ``matted/demo/00000/<image_id>.png`` and the like."""
    return key.split("/")[3].partition(".")[0]


def quality_prefix(dataset: str, shard: str, image_id: str | None = None) -> str:
    """Where the quality files of a shard, or of one of its images, lie."""
    if image_id is None:
        return image_prefix("quality", dataset, shard)
    return file_prefix("quality", dataset, shard, image_id)


def quality_key(dataset: str, shard: str, image_id: str, filename: str) -> str:
    """A quality file of one image: ``quality.json`` or ``diff.png``."""
    return file_key("quality", dataset, shard, image_id, filename)


def table_prefix(asset: str, dataset: str) -> str:
    """Where an asset's tables of one data set lie."""
    return f"tables/{_checked('asset', asset, _FOLDER, 'a name as in raw_images')}/{check_dataset(dataset)}/"


def table_key(asset: str, dataset: str, shard: str) -> str:
    """An asset's table of one shard; its presence is the commit."""
    return f"{table_prefix(asset, dataset)}{_shard(shard)}.parquet"


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


def _shard(shard: str) -> str:
    return _checked("shard", shard, _SHARD, "five or more digits as in 00000")


def _image(image_id: str) -> str:
    return _checked("image id", image_id, _NAME, "one made by image_id()")


def _filename(filename: str) -> str:
    return _checked("file name", filename, _NAME, "letters, digits, _, - and . as in quality.json")


def _checked(what: str, value: str, pattern: re.Pattern[str], expected: str) -> str:
    if not pattern.fullmatch(value):
        raise ConfigError(f"{what}: expected {expected}, got {value!r}")
    return value
