"""Every weights file that may be asked for by name: the rows of ``registry.csv``.

No imports but the standard library's.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

Task = Literal["matting", "upscaling", "refining", "fixing"]

_PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Weights:
    """One weights file.

    ``licence``: SPDX identifier under which its authors publish it; ``commercial``: whether it allows
    commercial use without a fee. ``scale``: enlargement factor of an upscaling network, ``None`` for matting.
    ``contract``: of a matting network, a name of ``imgpipe.settings.contracts``. ``sha256``, ``md5``: hex.

    ``md5`` is set where it is all that rembg's source has: size and sha256 are then those of public copies of
    the file, and a download must have both digests. ``size_bytes`` is 0 where no source states it; such a
    file is known by its sha256 alone, and fetched by hand. ``url`` is where it is published, or the place in
    this package of a file that comes with it.
    """

    name: str
    task: Task
    contract: str
    scale: int | None
    licence: str
    commercial: bool
    size_bytes: int
    sha256: str
    md5: str
    url: str
    authors: str
    network: str
    notes: str

    @property
    def filename(self) -> str:
        """Its name in the model folder: the one that it is published under."""
        return self.url.rpartition("/")[2]

    @property
    def shipped(self) -> bool:
        """Whether the file is in this package."""
        return "://" not in self.url

    def path(self, model_dir: Path) -> Path:
        """Where it lies: in this package, or in the model folder."""
        return _PACKAGE / self.url if self.shipped else model_dir / self.filename

    @property
    def digests(self) -> str:
        """The digests that a download must have, as text."""
        return f"sha256 {self.sha256}, md5 {self.md5}" if self.md5 else f"sha256 {self.sha256}"


def _rows() -> Iterator[Weights]:
    text = Path(__file__).with_name("registry.csv").read_text(encoding="utf-8")
    for row in csv.DictReader(text.splitlines()):
        values: dict[str, Any] = {
            **row,
            "scale": int(row["scale"]) if row["scale"] else None,
            "commercial": row["commercial"] == "free",
            "size_bytes": int(row["size_bytes"]),
        }
        yield Weights(**values)


#: Every model that may be asked for by name.
REGISTRY: Mapping[str, Weights] = MappingProxyType({weights.name: weights for weights in _rows()})
