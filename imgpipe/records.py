"""Frozen values that rooms hand to each other: objects, manifests, rows, results.

Nothing here knows pixels, storage or Dagster.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Literal

#: The store that a row's ``output_key`` is a key of.
StoreName = Literal["source", "output"]


class Status(StrEnum):
    """What became of one image in one stage. The four counts of a shard add up to its rows."""

    OK = "ok"
    REJECTED = "rejected"
    ERROR = "error"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class SourceObject:
    """One object as a store lists it. ``etag`` changes whenever the bytes do."""

    key: str
    size_bytes: int
    etag: str


@dataclass(frozen=True, slots=True)
class ManifestEntry:
    """One image of a shard. ``present`` is False once its source was deleted."""

    source_key: str
    image_id: str
    etag: str
    size_bytes: int
    present: bool = True


@dataclass(frozen=True, slots=True)
class ShardManifest:
    """A sealed shard: which images belong to it never changes; etags follow the sources.

    ``settings``: JSON of the settings that a job brings along; empty for shards of a data set.
    """

    dataset: str
    shard: str
    entries: tuple[ManifestEntry, ...]
    settings: str = ""

    @property
    def digest(self) -> str:
        """sha256 (hex) over membership and versions; a table made for this manifest records it."""
        text = json.dumps([[e.source_key, e.image_id, e.etag, e.size_bytes, e.present] for e in self.entries])
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class ModelUse:
    """The model that made a result. ``fallback_reason`` is empty unless another one was asked for."""

    name: str
    backend: str
    sha256: str = ""
    precision: str = ""
    device: str = ""
    fallback_reason: str = ""

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class TileGrid:
    """Where an upscaler cut the picture: interior tile borders in **source** px, and its factor.

    ``xs``/``ys`` are the interior cut positions (0 and the full width/height excluded), so an
    untiled result has two empty tuples.
    """

    xs: tuple[int, ...] = ()
    ys: tuple[int, ...] = ()
    scale: float = 1.0

    def as_dict(self) -> dict[str, Any]:
        return {"xs": list(self.xs), "ys": list(self.ys), "scale": self.scale}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> TileGrid:
        return cls(tuple(value["xs"]), tuple(value["ys"]), float(value["scale"]))


@dataclass(frozen=True, slots=True)
class ImageRow:
    """One input image in one asset's table: always exactly one, failures included.

    ``output_key`` is the main file's key in the store that ``output_store`` names: ``source`` for a stage
    that writes no file and describes its input (``raw_images``), ``output`` for all others.
    ``metrics`` become columns of their own; ``details`` is kept as JSON (tile grid, matte facts).
    ``seconds`` holds the time per step: read, decode, compute, encode, write.
    """

    source_key: str
    image_id: str
    etag: str
    status: Status
    stage_failed: str = ""
    error_class: str = ""
    error_message: str = ""
    reasons: tuple[str, ...] = ()
    attempts: int = 0
    input_sha256: str = ""
    output_sha256: str = ""
    stage_hash: str = ""
    output_key: str = ""
    output_store: StoreName = "output"
    width: int = 0
    height: int = 0
    bit_depth: int = 0
    format: str = ""
    size_bytes: int = 0
    model: ModelUse | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ImageRow:
        """The row of which ``values`` is ``dataclasses.asdict``, also after JSON."""
        model = values["model"]
        typed = {
            "status": Status(values["status"]),
            "reasons": tuple(values["reasons"]),
            "model": None if model is None else ModelUse(**model),
        }
        return cls(**{**values, **typed})

    @property
    def total_seconds(self) -> float:
        """All steps of the engine; a stage's own steps are parts of ``compute``."""
        steps = ("read", "decode", "compute", "encode", "write")
        return float(sum(self.seconds.get(step, 0.0) for step in steps))

    @property
    def why(self) -> str:
        """Why it has its status, in words: the error, or the reasons."""
        return f"{self.error_class}: {self.error_message}" if self.error_class else "; ".join(self.reasons)

    @property
    def files(self) -> Mapping[str, str]:
        """kind -> key in the output, of every file that the stage wrote for this image."""
        files: Mapping[str, str] = self.details.get("files", {})
        return files

    @property
    def digests(self) -> Mapping[str, str]:
        """kind -> sha256 (hex) of :attr:`files`; rows of earlier versions have the main file's alone."""
        beside: Mapping[str, str] = self.details.get("sha256", {})
        main = {kind: self.output_sha256 for kind, key in self.files.items() if key == self.output_key}
        return {**beside, **main}


def count_statuses(rows: Iterable[ImageRow]) -> dict[str, int]:
    """Rows by status, all four always present, plus their number as ``n``."""
    counts = {status.value: 0 for status in Status}
    total = 0
    for row in rows:
        counts[row.status.value] += 1
        total += 1
    return {"n": total, **counts}
