from __future__ import annotations

import json
from typing import Any

import jsonschema
import numpy as np
import pytest

from imgpipe.images.image import Image
from imgpipe.metrics import LIMITS, METRICS
from imgpipe.quality.document import Making, StoredPicture, Subject, build_document
from imgpipe.quality.report import QualityReport
from imgpipe.quality.score import MatteEvidence, score
from imgpipe.records import ModelUse, TileGrid
from imgpipe.settings import QualitySettings
from imgpipe_tests.quality.defects import plant_seam
from imgpipe_tests.quality.documents import SCHEMA, validate
from imgpipe_tests.quality.drawings import area, draw, enlarge, image

SETTINGS = QualitySettings()
REQUIRED = {
    *("original_size_bytes", "enhanced_size_bytes", "dimensions_before", "dimensions_after", "psnr", "ssim"),
    *("artifacts_detected", "schema_version", "status", "reasons", "reference", "psnr_y", "ssim_y"),
    *("ssim_y_half", "worst_window", "color_shift_255", "detail_ratio", "scores", "thresholds", "matte"),
    *("model", "tile_grid", "timings_seconds", "input_sha256", "output_sha256", "config_hash", "identical"),
}


def document(report: QualityReport, **changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "reference": "raw_images",
        "config_hash": "abc",
        "model": ModelUse("lanczos", "opencv"),
        "tile_grid": TileGrid((128,), (96,), 4.0),
        "timings_seconds": {"raw_images": 0.1, "upscaled_images": 0.4},
        "model_load_seconds": 2.5,
    }
    return build_document(
        report,
        Subject("set/picture.png", "picture-1", "set", "00000", ("CMYK converted by formula",)),
        StoredPicture(1000, (256, 192), "a" * 64),
        StoredPicture(9000, (1024, 768), "b" * 64),
        Making(**{**values, **changes}),
    )


def seam_report() -> QualityReport:
    source = area(draw(1))
    result = plant_seam(enlarge(source), 384, 6)
    return score(image(source), image(result), settings=SETTINGS, tile_grid=TileGrid((128,), (96,), 4.0))


def test_document_has_the_agreed_fields_and_follows_its_schema() -> None:
    value = document(seam_report())
    assert set(value) >= REQUIRED
    assert set(value["artifacts_detected"]) == {"lines", "edge_pixel_loss"}
    validate(json.loads(json.dumps(value, allow_nan=False)))
    assert value["status"] == "rejected"
    lines = value["artifacts_detected"]["lines"]
    assert lines["detected"] is True
    assert lines["score"] > lines["threshold"] == 0.35
    assert lines["boxes"][0]["width"] == 1024
    assert value["dimensions_after"] == [1024, 768]
    timings, share = value["timings_seconds"], value["timings_share"]
    assert (timings["raw_images"], timings["model_load"]) == (0.1, 2.5)
    assert set(share) == {"raw_images", "upscaled_images", "quality_reports"}
    assert share["raw_images"] == pytest.approx(0.1 / (0.5 + timings["quality_reports"]), rel=1e-4)
    whole = sum(timings[name] for name in share)
    assert share == {
        name: pytest.approx(timings[name] / whole, abs=2e-6) for name in share
    }  # both are rounded
    assert abs(sum(share.values()) - 1) <= len(share) * 0.5e-6 + 1e-12  # half a unit of the sixth digit each
    assert value["timings_seconds"]["score_ssim"] > 0
    assert value["matte"] is None
    place = [value[name] for name in ("source_key", "image_id", "dataset", "shard", "reference")]
    assert place == ["set/picture.png", "picture-1", "set", "00000", "raw_images"]
    assert value["notes"][0] == "CMYK converted by formula"
    assert value["schema_version"] == "2"


def test_identical_pictures_have_null_psnr() -> None:
    picture = image(draw(1, 64, 48, 1))
    value = document(score(picture, picture, settings=SETTINGS), model=None, tile_grid=None)
    validate(value)
    assert value["psnr"] is None
    assert value["identical"] is True
    assert value["model"] is None


@pytest.mark.parametrize("size", [1, 8])
def test_tiny_pictures_have_nulls_and_never_nan(size: int) -> None:
    tiny = Image(np.full((size, size, 4), 90, np.uint8))
    report = score(tiny, tiny, settings=SETTINGS, matte=MatteEvidence(tiny, tiny))
    value = document(report)
    text = json.dumps(value, allow_nan=False)
    validate(json.loads(text))
    assert value["ssim"] is None
    assert value["matte"]["foreground"] == 0.0
    assert value["matte"]["soft_band_px"] is None
    assert value["notes"]


def test_schema_is_itself_valid_closed_and_complete() -> None:
    value = SCHEMA
    jsonschema.Draft202012Validator.check_schema(value)
    assert list(value["properties"]["scores"]["properties"]) == list(METRICS)
    assert list(value["properties"]["thresholds"]["properties"]) == list(LIMITS)

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            if "properties" in node:
                assert node["additionalProperties"] is False
                assert all({"description", "$ref", "const"} & set(p) for p in node["properties"].values())
            for inner in node.values():
                walk(inner)

    walk(value)


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"psnr": "high"}, ["psnr"]),
        ({"extra": 1}, []),
        ({"dimensions_before": [1]}, ["dimensions_before"]),
        ({"input_sha256": "xyz"}, ["input_sha256"]),
        ({"status": "fine"}, ["status"]),
    ],
)
def test_a_document_that_breaks_the_schema_is_named(change: dict[str, Any], place: list[str]) -> None:
    with pytest.raises(jsonschema.ValidationError) as caught:
        validate({**document(seam_report()), **change})
    assert list(caught.value.absolute_path)[:1] == place


def test_both_models_stand_in_the_document_with_their_fallback() -> None:
    source = draw(2)
    alpha = np.zeros(source.shape[:2], np.uint8)
    alpha[40:150, 60:200] = 255
    cutout = image(np.dstack([source, alpha]))
    report = score(cutout, cutout, settings=SETTINGS, matte=MatteEvidence(image(source), cutout))
    fallen = ModelUse("classical", "opencv", fallback_reason="isnet-anime is missing")
    value = document(report, matting_model=fallen)
    validate(json.loads(json.dumps(value, allow_nan=False)))
    assert value["matte"]["model"]["fallback_reason"] == "isnet-anime is missing"
    assert value["model"]["name"] == "lanczos"
