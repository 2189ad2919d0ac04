"""A data set in the state in which an operator finds it in the morning, and its instance.

Five shards of two sample drawings. One threshold is strict, so that a check fails with pictures to look at;
the manifests of two shards were away when they ran, so that their partitions failed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from imgpipe.config import Settings, load_settings
from imgpipe.errors import ObjectMissing
from imgpipe.images.encode import encode
from imgpipe.images.image import Image
from imgpipe.launch import Launcher, open_instance, remember_settings
from imgpipe.partitions import add_partitions
from imgpipe.storage import keys
from imgpipe.storage.manifests import plan, seal
from imgpipe.storage.opening import open_store
from training.samples.drawings import draw_samples

DATASET = "gallery"
SHARDS = tuple(f"{number:05d}" for number in range(5))
FAILED_SHARDS = ("00001", "00003")
FAILED = tuple(f"{DATASET}-{shard}" for shard in FAILED_SHARDS)
_EDGE_PX = 224


@dataclass(frozen=True)
class Incident:
    """``home``: the instance's folder. ``taken``: where manifests belong -> where they are."""

    settings: Settings
    home: Path
    taken: dict[Path, Path]

    def repair(self) -> None:
        """Put the manifests back where they belong."""
        for belongs, lies in self.taken.items():
            lies.rename(belongs)


def prepare(folder: Path) -> Incident:
    """Everything below ``folder``; ``DAGSTER_HOME`` must name a folder of it already."""
    source, output = folder / "art", folder / "results"
    write_drawings(source, 2 * len(SHARDS))
    settings = load_settings(
        {
            "source": str(source),
            "output": str(output),
            "dataset": DATASET,
            "shard_size": 2,
            "rembg.model": "classical",
            "upscale.model": "lanczos",
            "upscale.scale": 2,
            "quality.thresholds": {"psnr_y_min_db": 35.0},
        }
    )
    home = remember_settings(settings).parent
    stores = open_store(settings.source, settings.s3), open_store(settings.output, settings.s3, create=True)
    seal(plan(*stores, dataset=DATASET, shard_size=2), stores[1])
    taken = {output / keys.manifest_key(DATASET, shard): folder / f"taken-{shard}" for shard in FAILED_SHARDS}
    with open_instance() as instance:
        launcher = Launcher(settings, instance)
        add_partitions(settings, instance, SHARDS)
        for belongs, lies in taken.items():
            belongs.rename(lies)
        for shard in SHARDS:
            try:
                launcher.run_shard(shard)
            except ObjectMissing:
                assert shard in FAILED_SHARDS, shard
            else:
                assert shard not in FAILED_SHARDS, "a shard without its manifest was run"
        launcher.run_report({})
    return Incident(settings, home, taken)


def write_drawings(folder: Path, count: int) -> None:
    """The first sample drawings as small 8-bit PNG files."""
    folder.mkdir(parents=True, exist_ok=True)
    for drawing in draw_samples()[:count]:
        pixels = drawing.image.pixels
        if pixels.dtype != np.uint8:
            pixels = (pixels >> 8).astype(np.uint8)
        scale = _EDGE_PX / max(pixels.shape[:2])
        small = cv2.resize(
            np.ascontiguousarray(pixels), None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA
        )
        (folder / f"{drawing.name}.png").write_bytes(encode(Image(np.atleast_3d(small).astype(np.uint8))))
