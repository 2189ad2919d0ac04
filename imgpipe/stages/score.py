"""Scoring as a stage: whether the picture was damaged by the stages before, and where."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from imgpipe.host import usable_cores
from imgpipe.images.image import Image
from imgpipe.quality.document import Making, StoredPicture, Subject, build_document
from imgpipe.records import ImageRow, ModelUse, TileGrid
from imgpipe.settings import QualitySettings
from imgpipe.stages.catalogue import ENHANCED, FIXED, MATTED, RAW, UPSCALED
from imgpipe.stages.chain import chain_of
from imgpipe.stages.fingerprint import fingerprint
from imgpipe.stages.protocol import FIXED_BYTES, PictureSize, StageResult

#: Increment when the same pictures get other scores, another verdict or another quality.json.
CODE_VERSION = 9

#: Measured with alpha and a matte: planes of the compared size, and the RGB of both where it is kept.
_BYTES_PER_PIXEL, _KEPT_BYTES_PER_PIXEL = 34, 24

log = logging.getLogger(__name__)


class ScoreStage:
    """Scores the stored result against the picture that went into the upscaler, and the matte."""

    def __init__(
        self, quality: QualitySettings, actions: tuple[str, ...], place: tuple[str, str] | None = None
    ) -> None:
        self._settings = quality
        self._actions = actions
        self._place = place
        self._reference = dict(chain_of(actions)[-1].roles)["reference"]

    @cached_property
    def fingerprint(self) -> str:
        return fingerprint(
            "score",
            CODE_VERSION,
            {**self._settings.model_dump(), "actions": self._actions},
        )

    def for_shard(self, dataset: str, shard: str) -> ScoreStage:
        """The same stage for the pictures of a shard: quality.json names both. A single file has neither."""
        return ScoreStage(self._settings, self._actions, (dataset, shard))

    @property
    def concurrency(self) -> int:
        return usable_cores()

    def needed_bytes(self, inputs: Mapping[str, PictureSize]) -> int:
        """Planes of the smaller size at which the pictures are compared, and the luma of both."""
        from imgpipe.pixels.round_trip import KEPT_PX

        sides = [(size.width, size.height) for size in inputs.values()]
        compared = min(width for width, _ in sides) * min(height for _, height in sides)
        pair = [inputs[role] for role in ("reference", "result") if role in inputs]
        lumas = sum(size.pixels for size in pair)
        shown = sum(size.bytes for size in pair if size.converted)  # In sRGB.
        kept = _KEPT_BYTES_PER_PIXEL * min(compared, KEPT_PX)
        return FIXED_BYTES + lumas + shown + kept + _BYTES_PER_PIXEL * compared

    def run(self, inputs: Mapping[str, Image], rows: Mapping[str, ImageRow]) -> StageResult:
        from imgpipe.quality.diff import diff_png
        from imgpipe.quality.profiles import why_profile
        from imgpipe.quality.score import MatteEvidence, score

        reference, result = inputs["reference"], inputs["result"]
        upscaled = rows.get(UPSCALED)
        grid = _grid_on(reference, upscaled) if upscaled else None
        raw, last = rows[RAW], list(rows.values())[-1]
        matted, fixed = rows.get(MATTED), rows.get(FIXED)
        matte = None
        if "cutout" in inputs:
            matte = MatteEvidence(
                inputs["matte_source"], inputs["cutout"], {} if matted is None else matted.metrics
            )
        maker = _maker(rows)
        report = score(
            reference,
            result,
            settings=self._settings,
            tile_grid=grid,
            matte=matte,
            model=maker,
        )
        document = build_document(
            report,
            self._subject(raw),
            StoredPicture(raw.size_bytes, (raw.width, raw.height), raw.input_sha256),
            StoredPicture(last.size_bytes, (last.width, last.height), last.output_sha256),
            Making(
                reference=self._reference,
                config_hash=self.fingerprint,
                profile_reason=why_profile(self._settings, maker, "its row"),
                model=last.model if upscaled is None else upscaled.model,
                tile_grid=grid,
                matting_model=matted.model if matted else None,
                matting_metrics=matted.metrics if matted else {},
                fixing=fixed.details.get("fix_artifacts") if fixed else None,
                enhancement=_enhancement(rows.get(ENHANCED)),
                timings_seconds={asset: row.total_seconds for asset, row in rows.items()},
                model_load_seconds=sum(row.details.get("model_load_seconds", 0.0) for row in rows.values()),
            ),
        )
        _log_line(rows, report.metrics)
        outputs: dict[str, Image | bytes] = {
            "quality.json": (json.dumps(document, indent=2, allow_nan=False) + "\n").encode()
        }
        if self._settings.diff:
            outputs["diff.png"] = diff_png(reference, result, report.differences)
        return StageResult(
            outputs=outputs,
            status=report.status,
            reasons=report.reasons,
            model=last.model,
            metrics=report.metrics,
            details={
                "checks": document["checks"],
                "profile": report.profile,
                "identical": report.identical,
                "fallbacks": [
                    f"{asset}: {row.model.fallback_reason}"
                    for asset, row in rows.items()
                    if row.model is not None and row.model.fallback_reason
                ],
            },
            seconds=report.seconds,
            main_image=result,
            main_format="JSON",
        )

    def _subject(self, raw: ImageRow) -> Subject:
        """The image by its place in the data set; a raw row's reasons are the notes of decoding."""
        if self._place is None:
            return Subject(raw.source_key, notes=raw.reasons)
        return Subject(raw.source_key, raw.image_id, *self._place, raw.reasons)


def _enhancement(row: ImageRow | None) -> dict[str, Any] | None:
    if row is None:
        return None
    names = ("min_bytes", "min_bytes_met", "max_bytes", "max_bytes_met")
    return {**{name: row.details.get(name) for name in names}, "reasons": list(row.reasons)}


def _maker(rows: Mapping[str, ImageRow]) -> ModelUse | None:
    """What drew the result's detail: the upscaler, else a network of another stage."""
    for asset in (UPSCALED, ENHANCED, FIXED):
        row = rows.get(asset)
        if row is not None and (asset == UPSCALED or "network" in row.details):
            return row.model
    return None


def _grid_on(reference: Image, upscaled: ImageRow) -> TileGrid:
    """The recorded grid in px of the reference, which may have been enlarged before it was upscaled."""
    grid = TileGrid.from_dict(upscaled.details["tile_grid"])
    factor = reference.width * grid.scale / upscaled.width
    if abs(factor - 1) * reference.width < 1:
        return grid
    xs, ys = (tuple(round(cut * factor) for cut in cuts) for cuts in (grid.xs, grid.ys))
    return TileGrid(xs, ys, grid.scale / factor)


def _log_line(rows: Mapping[str, ImageRow], metrics: Mapping[str, float]) -> None:
    """The line per image that people grep for; ``target_bytes`` is none where no least size was asked for."""
    raw, last = rows[RAW], list(rows.values())[-1]
    wanted = rows[ENHANCED].details.get("min_bytes") if ENHANCED in rows else None
    log.info(
        "QualityEnhancer: %s dims_before=%dx%d dims_after=%dx%d psnr=%s ssim=%s target_bytes=%s "
        "actual_bytes=%d format=%s",
        raw.source_key,
        raw.width,
        raw.height,
        last.width,
        last.height,
        metrics.get("psnr", "identical"),
        metrics.get("ssim", "none"),
        wanted or "none",
        last.size_bytes,
        last.format,
    )
