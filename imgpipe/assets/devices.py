"""Which device the networks of a shard ran on, for torch and for the ONNX runtimes: no silent CPU."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from imgpipe.names import counted
from imgpipe.records import ImageRow
from imgpipe.stages.catalogue import CATALOGUE, QUALITY
from imgpipe.storage.store import ImageStore
from imgpipe.storage.tables import read_standing

#: Backend as rows name it -> the library that has the device.
_LIBRARIES = {
    "spandrel": "torch",
    "realesrgan": "torch",
    "onnx": "ONNX runtime",
    "onnxruntime": "ONNX runtime",
    "openvino": "ONNX runtime",
}
#: How a reason of a row begins that tells of a CPU in place of a GPU.
SILENT = "device auto is the CPU"


@dataclass(frozen=True, slots=True)
class Devices:
    """``images``: by (asset, library, device). ``reasons``: why the CPU was taken where a GPU was to be
    expected, with how many images say so."""

    images: Mapping[tuple[str, str, str], int]
    reasons: Mapping[str, int]

    @property
    def differ(self) -> bool:
        """Whether there are several answers, of two libraries or of two machines."""
        return len({device.partition(":")[0] for _, _, device in self.images}) > 1

    @property
    def as_expected(self) -> bool:
        return not self.differ and not self.reasons

    def __str__(self) -> str:
        found = "; ".join(
            f"{asset}: {library} on {device}, {counted(count, 'image')}"
            for (asset, library, device), count in sorted(self.images.items())
        )
        why = "; ".join(f"{counted(count, 'image')}: {reason}" for reason, count in self.reasons.items())
        return "; ".join(filter(None, (found, why))) or "no network ran"


def devices_of(tables: Mapping[str, Iterable[ImageRow]]) -> Devices:
    """What the rows of each asset say."""
    images: Counter[tuple[str, str, str]] = Counter()
    reasons: Counter[str] = Counter()
    for asset, rows in tables.items():
        for row in rows:
            library = _LIBRARIES.get(row.model.backend) if row.model is not None else None
            if row.model is not None and library is not None:
                images[asset, library, row.model.device] += 1
            said = (*row.reasons, row.model.fallback_reason if row.model is not None else "")
            reasons.update({f"{asset}: {reason}" for reason in said if reason.startswith(SILENT)})
    return Devices(images, reasons)


def shard_devices(output: ImageStore, dataset: str, shard: str) -> Devices:
    """Of the standing tables of a shard; scores take no part, they name the model of the stage before."""
    assets: Sequence[str] = [row.asset for row in CATALOGUE.values() if row.asset != QUALITY]
    tables = read_standing(output, assets, dataset, shard)
    return devices_of({asset: rows.values() for asset, rows in tables.items()})
