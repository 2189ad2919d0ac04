"""Which enlargements of real pictures the verdict rejects: clean ones, and those with fine damage.

Called by ``benchmarks/quality.py --outside --enlargements``. Crops of the real pictures of ``../shared``,
enlarged by Lanczos, bicubic and the networks whose weights lie there. The pictures of :data:`SEEN` were in
view when the thresholds were set; the others are the unseen part, reported on its own. A third part, for
``--part photographs`` alone, is scikit-image's photographs and pictures of textures: of no kind that any
threshold was set for.
"""

from __future__ import annotations

import argparse
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, cast

import cv2
import numpy as np
import skimage.data
from mattes.outside import wilson
from worst import WorstPage

from enlargements.damage import DAMAGE, Pixels
from imgpipe.images.image import Image
from imgpipe.pixels.resize import resize
from imgpipe.quality.report import QualityReport
from imgpipe.quality.score import score
from imgpipe.records import ModelUse, Status, TileGrid
from imgpipe.settings import QualitySettings, UpscaleSettings
from imgpipe_tests.opencv_files import opencv_read

DATA = Path(__file__).resolve().parents[3] / "shared"
SCALE, TILE_PX = 4, 128
CROP = 280, 216
KERNELS = "lanczos", "bicubic"
NETWORKS = "realesr-animevideov3", "realesrgan-anime-6b"
PHOTOGRAPHS = (
    *("astronaut", "brick", "camera", "chelsea", "chessboard_GRAY", "coffee", "coins", "color", "grass"),
    *("gravel", "horse", "hubble_deep_field", "ihc", "logo", "moon", "motorcycle_left", "motorcycle_right"),
    *("page", "phantom", "retina", "rocket", "text"),
)
SEEN = frozenset(("anime-girl-1", "apisr-f91", "apisr-image-00164", "comic", "anime-041", "esrgan-OST_009"))
_SETTINGS = QualitySettings()


class Upscaler:
    """One method; networks' results are kept in ``folder`` where there is one."""

    def __init__(self, name: str, folder: Path | None) -> None:
        self.name, self._folder = name, folder
        self.model = ModelUse(name, "classical" if name in KERNELS else "spandrel")

    @cached_property
    def _network(self) -> Any:
        from imgpipe.upscaling.build import build_upscaler

        weights = DATA / "models" / f"{self.name}.safetensors"
        settings = UpscaleSettings(model=str(weights), scale=SCALE, tile_size=TILE_PX)
        return build_upscaler(settings, model_dir=weights.parent)

    def enlarge(self, source: Pixels) -> Pixels:
        """``source`` (height, width, 3) at :data:`SCALE` times its size."""
        picture = Image(np.ascontiguousarray(source))
        if self.name in KERNELS:
            kernel = cast(Literal["lanczos", "bicubic"], self.name)
            size = SCALE * picture.width, SCALE * picture.height
            return np.asarray(resize(picture, *size, kernel).pixels, np.uint8)
        name = f"{self.name}-{zlib.crc32(picture.pixels.tobytes()):08x}-{picture.width}.png"
        kept = self._folder / name if self._folder else None
        if kept is not None and kept.is_file():
            return np.ascontiguousarray(opencv_read(kept, cv2.IMREAD_COLOR)[..., ::-1], np.uint8)
        pixels = np.asarray(self._network.upscale(picture).image.pixels, np.uint8)
        if kept is not None:
            kept.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(kept), pixels[..., ::-1])
        return pixels


@dataclass(frozen=True, slots=True, eq=False)
class Crop:
    """A part of a real picture. ``number``: seeds its damage."""

    picture: str
    number: int
    source: Pixels

    @property
    def part(self) -> str:
        if self.picture in PHOTOGRAPHS:
            return "photographs"
        return "seen" if self.picture in SEEN else "unseen"


def judge(crop: Crop, result: Pixels, model: ModelUse) -> QualityReport:
    height, width = crop.source.shape[:2]
    across, down = (tuple(range(TILE_PX, side - TILE_PX // 4, TILE_PX)) for side in (width, height))
    pictures = Image(crop.source), Image(np.ascontiguousarray(result))
    return score(*pictures, settings=_SETTINGS, tile_grid=TileGrid(across, down, float(SCALE)), model=model)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Per part, upscaler and damage: rejected, with 95% intervals (Wilson), and the checks that saw it."""
    results: dict[str, Any] = {}
    worst = WorstPage(options.worst)
    parts = ("seen", "unseen") if options.part == "both" else (options.part,)
    every = [one for one in crops() if one.part in parts]
    for name in (*KERNELS, *NETWORKS):
        if name in NETWORKS and not (DATA / "models" / f"{name}.safetensors").is_file():
            continue
        upscaler = Upscaler(name, options.keep)
        found: dict[tuple[str, str], list[tuple[str, QualityReport]]] = {}
        for crop in every[:1] if options.quick else every:
            for group, result in _results(crop, upscaler):
                reports = found.setdefault((crop.part, group), [])
                report, place = judge(crop, result, upscaler.model), f"{crop.picture} {crop.number}"
                reports.append((place, report))
                if not group.endswith(": 1"):  # The slightest damage is no miss.
                    worst.add(f"{name}, {group}", place, group == "clean", report, crop.source, result)
        for (part, group), reports in found.items():
            results.setdefault(part, {}).setdefault(name, {})[group] = _row(reports)
    _print(results)
    worst.write()
    return results


def _results(crop: Crop, upscaler: Upscaler) -> Iterator[tuple[str, Pixels]]:
    """(kind, result): the clean one first."""
    clean = upscaler.enlarge(crop.source)
    yield "clean", clean
    if upscaler.name == "bicubic":  # Damaged, it is as Lanczos.
        return
    for kind, plant in DAMAGE.items():
        for level in range(3):
            rng = np.random.default_rng([crop.number, level, zlib.crc32(kind.encode())])
            damaged = plant(crop.source, clean, level, rng, upscaler.enlarge)
            if damaged is not None:
                yield f"{kind}: {level + 1}", damaged


def crops() -> Iterator[Crop]:
    """Up to four crops of every picture, as far apart as they can be; two of a photograph."""
    number = 0
    for path in _pictures():
        picture = np.asarray(opencv_read(path, cv2.IMREAD_COLOR)[..., ::-1], np.uint8)
        for y in _starts(picture.shape[0], CROP[1]):
            for x in _starts(picture.shape[1], CROP[0])[: 1 if path.stem in PHOTOGRAPHS else 2]:
                source = np.ascontiguousarray(picture[y : y + CROP[1], x : x + CROP[0]])
                yield Crop(path.stem, number, source)
                number += 1


def _pictures() -> Iterator[Path]:
    for place in ("sr", "real", "anime"):
        yield from (path for path in sorted((DATA / "data" / place).glob("*")) if ".isnet" not in path.name)
    photographs = Path(skimage.data.__file__).parent
    for name in PHOTOGRAPHS:
        yield from photographs.glob(f"{name}.*g")


def _starts(side: int, length: int) -> list[int]:
    return [0, side - length] if side >= 2 * length else [max(0, side - length) // 2]


def _row(reports: list[tuple[str, QualityReport]]) -> dict[str, Any]:
    rejected = [name for name, report in reports if report.status is Status.REJECTED]
    checks = Counter(check.name for _, report in reports for check in report.failed)
    return {
        "n": len(reports),
        "rejected": len(rejected),
        "interval": wilson(len(rejected), len(reports)),
        "checks": dict(checks.most_common(4)),
        "names_rejected": rejected,
    }


def _print(results: dict[str, Any]) -> None:
    for part, upscalers in sorted(results.items()):
        print(f"\nenlargements, {part} part: rejected at three strengths, 95% of the middle one")
        print(f"{'':<48}" + "".join(f"{name:>28}" for name in upscalers))
        groups = dict.fromkeys(group.split(": ")[0] for rows in upscalers.values() for group in rows)
        for group in groups:
            print(f"{group:<48}" + "".join(f"{_cell(rows, group):>28}" for rows in upscalers.values()))


def _cell(rows: dict[str, Any], group: str) -> str:
    found = [rows.get(name) for name in ((group,) if group in rows else (f"{group}: {n}" for n in (1, 2, 3)))]
    middle = found[len(found) // 2]
    if middle is None:
        return "-"
    counts = " / ".join(str(row["rejected"]) if row else "-" for row in found)
    low, high = (round(100 * share) for share in middle["interval"])
    return f"{counts} of {middle['n']}, {low}..{high}%"
