"""Small data sets in memory stores: sources, cutouts, results and the rows that describe them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from imgpipe.pictures.reader import PictureReader
from imgpipe.records import ImageRow, ModelUse, Status
from imgpipe.report.build import Bounds, ReportResult, build_report
from imgpipe.report.frame import ShardRows
from imgpipe.settings import IsolationSettings, LimitSettings
from imgpipe.storage import keys
from imgpipe.storage.memory import MemoryStore

DATASET = "demo"
ASSETS = ("raw_images", "matted_images", "upscaled_images", "quality_reports")
MATTER = ModelUse("classical", "opencv", precision="fp32", device="cpu")
LANCZOS = ModelUse("lanczos", "numpy", precision="fp32", device="cpu")
LIMITS = {
    "psnr_y_min_db": 30.0,
    "ssim_y_min": 0.95,
    "color_shift_255_max": 2.0,
    "detail_ratio_min": 0.65,
    "detail_ratio_max": 1.4,
    "components_max": 6.0,
}
#: Checks that only warn.
WARNINGS = {"components_max"}


def png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """RGB or RGBA (height, width, 3 or 4) as PNG bytes."""
    order = cv2.COLOR_RGB2BGR if pixels.shape[2] == 3 else cv2.COLOR_RGBA2BGRA
    done, data = cv2.imencode(".png", cv2.cvtColor(pixels, order))
    assert done
    return data.tobytes()


def drawing(seed: int, width: int = 96, height: int = 128) -> npt.NDArray[np.uint8]:
    """A flat-coloured drawing with outlines, RGB."""
    rng = np.random.default_rng(seed)
    picture = np.full((height, width, 3), rng.integers(120, 250, 3), np.uint8)
    for _ in range(7):
        corners = rng.integers([0, 0], [width, height], (4, 2)).astype(np.int32)
        hull = cv2.convexHull(corners)
        cv2.fillPoly(picture, [hull], [int(v) for v in rng.integers(0, 256, 3)])
        cv2.polylines(picture, [hull], True, (20, 20, 30), 2, cv2.LINE_AA)
    return picture


def cutout(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The picture with an elliptic matte, RGBA."""
    height, width = picture.shape[:2]
    alpha = np.zeros((height, width), np.uint8)
    cv2.ellipse(alpha, (width // 2, height // 2), (width // 3, height // 3), 0, 0, 360, 255, -1, cv2.LINE_AA)
    return np.dstack([picture, alpha])


def check(name: str, value: float | None) -> dict[str, Any]:
    threshold = LIMITS[name]
    passed = value is None or (value <= threshold if name.endswith("_max") else value >= threshold)
    severity = "warn" if name in WARNINGS else "error"
    message = f"{name} is {value}, {'allowed' if passed else 'not allowed'} {threshold}"
    return {
        "name": name,
        "passed": passed,
        "severity": severity,
        "value": value,
        "threshold": threshold,
        "message": message,
    }


def scored(base: ImageRow, scores: Mapping[str, float], **changes: Any) -> ImageRow:
    """A quality row whose verdict follows from its scores."""
    metric_of = {name: name.removesuffix("_db")[:-4] for name in LIMITS}
    metric_of["components_max"] = "matte_components"
    checks = [check(name, scores.get(metric_of[name])) for name in LIMITS]
    failed = [c for c in checks if not c["passed"]]
    status = Status.REJECTED if any(c["severity"] == "error" for c in failed) else Status.OK
    row = replace(
        base,
        status=status,
        stage_failed=ASSETS[-1] if status is Status.REJECTED else "",
        reasons=tuple(c["message"] for c in failed),
        metrics=dict(scores),
        details={"checks": checks, "fallbacks": [], "profile": "classical"},
        seconds={"read": 0.01, "decode": 0.02, "compute": 0.3, "ssim": 0.2},
        stage_hash=hashlib.sha256(repr((base.image_id, sorted(scores.items()))).encode()).hexdigest(),
    )
    return replace(row, **changes)


def good_scores(rng: np.random.Generator) -> dict[str, float]:
    return {
        "psnr": float(rng.normal(36, 1.5)),
        "psnr_y": float(rng.normal(38, 1.5)),
        "ssim": float(np.clip(rng.normal(0.985, 0.003), 0, 1)),
        "ssim_y": float(np.clip(rng.normal(0.988, 0.003), 0, 1)),
        "color_shift_255": float(abs(rng.normal(0.4, 0.3))),
        "detail_ratio": float(rng.normal(0.95, 0.05)),
        "matte_components": float(rng.integers(1, 4)),
    }


@dataclass
class DatasetBuilder:
    """Adds images shard by shard; ``shards()`` and ``reader()`` give what the report reads."""

    source: MemoryStore = field(default_factory=lambda: MemoryStore("source"))
    output: MemoryStore = field(default_factory=lambda: MemoryStore("output"))
    tables: dict[str, dict[str, list[ImageRow]]] = field(default_factory=dict)

    def add(self, shard: str, rows: Sequence[ImageRow]) -> None:
        tables = self.tables.setdefault(shard, {asset: [] for asset in ASSETS})
        for asset, row in zip(ASSETS, rows, strict=True):
            tables[asset].append(row)

    def shards(self) -> list[ShardRows]:
        return [ShardRows(shard, tables) for shard, tables in self.tables.items()]

    def reader(self, isolation: IsolationSettings | None = None) -> PictureReader:
        isolation = isolation or IsolationSettings(mode="none")
        return PictureReader(self.source, self.output, LimitSettings(), isolation)

    def report(
        self,
        *,
        isolation: IsolationSettings | None = None,
        max_thumbnails: int = 400,
        max_hashes: int = 2000,
        **options: Any,
    ) -> ReportResult:
        reader, bounds = self.reader(isolation), Bounds(max_thumbnails, max_hashes)
        return build_report(DATASET, self.shards(), reader, matte_asset=ASSETS[1], bounds=bounds, **options)

    def add_image(
        self,
        key: str,
        scores: Mapping[str, float],
        *,
        shard: str = "00000",
        picture: npt.NDArray[np.uint8] | None = None,
        result: npt.NDArray[np.uint8] | None = None,
        scale: int = 4,
    ) -> ImageRow:
        """A finished image with real pictures in the stores; returns its quality row."""
        image_id = keys.image_id(key)
        seed = int(hashlib.sha256(key.encode()).hexdigest()[:8], 16)
        picture = drawing(seed) if picture is None else picture
        matted = cutout(picture)
        size = (picture.shape[1] * scale, picture.shape[0] * scale)
        if result is None:
            result = np.asarray(cv2.resize(matted, size, interpolation=cv2.INTER_CUBIC), np.uint8)
        self.source.write(key, png(picture), overwrite=True)
        etag = next(o.etag for o in self.source.list(key) if o.key == key)
        base = ImageRow(key, image_id, etag, Status.OK, attempts=1, seconds={"read": 0.01, "compute": 0.1})
        raw = replace(self._row(base, png(picture), key, picture.shape, None), output_store="source")
        made = []
        for folder, pixels, model in (("matted", matted, MATTER), ("upscaled", result, LANCZOS)):
            data, place = png(pixels), keys.image_key(folder, DATASET, shard, image_id, "png")
            self.output.write(place, data, overwrite=True)
            made.append(self._row(base, data, place, pixels.shape, model))
        final = scored(replace(base, model=LANCZOS), scores)
        final = replace(final, output_key=keys.file_key("quality", DATASET, shard, image_id, "quality.json"))
        self.add(shard, (raw, *made, final))
        return final

    def add_error(self, key: str, shard: str = "00000", message: str = "expected an image, got HTML") -> None:
        """An image that could not be read."""
        row = ImageRow(
            key,
            keys.image_id(key),
            "etag",
            Status.ERROR,
            stage_failed=ASSETS[0],
            error_class="UnsupportedFormat",
            error_message=f"{key}: {message}",
            attempts=1,
        )
        self.add(shard, (row,) * len(ASSETS))

    def add_skipped(self, key: str, shard: str = "00000") -> None:
        row = ImageRow(key, keys.image_id(key), "etag", Status.SKIPPED, reasons=("the source was deleted",))
        self.add(shard, (row,) * len(ASSETS))

    @staticmethod
    def _row(
        base: ImageRow, data: bytes, key: str, shape: tuple[int, ...], model: ModelUse | None
    ) -> ImageRow:
        digest = hashlib.sha256(data).hexdigest()
        return replace(
            base,
            input_sha256=digest,
            output_sha256=digest,
            output_key=key,
            height=shape[0],
            width=shape[1],
            bit_depth=8,
            format="PNG",
            size_bytes=len(data),
            model=model,
            stage_hash=digest,
        )
