"""Scoring as a stage: the recorded tile grid, and what quality.json says of its image."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from imgpipe.images.image import Image
from imgpipe.records import ImageRow, ModelUse, Status, TileGrid
from imgpipe.settings import QualitySettings
from imgpipe.stages.catalogue import ENHANCED, FIXED, MATTED, RAW, UPSCALED
from imgpipe.stages.chain import chain_of
from imgpipe.stages.protocol import StageResult
from imgpipe.stages.score import ScoreStage, _grid_on
from imgpipe_tests.quality.defects import plant_seam
from imgpipe_tests.quality.documents import validate
from imgpipe_tests.quality.drawings import area, draw, enlarge, image


def document_of(made: StageResult) -> dict[str, Any]:
    data = made.outputs["quality.json"]
    assert isinstance(data, bytes)
    document: dict[str, Any] = json.loads(data)
    return document


def row(picture: Image, *reasons: str, **details: Any) -> ImageRow:
    return ImageRow(
        "set/a.png",
        "a-1",
        "e",
        Status.OK,
        reasons=reasons,
        width=picture.width,
        height=picture.height,
        details=details,
    )


@pytest.mark.parametrize(
    ("width", "recorded", "expected"),
    [
        (256, TileGrid((128,), (96,), 4.0), TileGrid((128,), (96,), 4.0)),  # upscaled as it was
        (128, TileGrid((128,), (96,), 4.0), TileGrid((64,), (48,), 8.0)),  # enhanced to twice the size before
        (512, TileGrid((128,), (96,), 4.0), TileGrid((256,), (192,), 2.0)),  # reduced to half before
        (171, TileGrid((128,), (), 4.0), TileGrid((86,), (), 1024 / 171)),  # 1.5 times: 85.5 is rounded
    ],
)
def test_the_grid_is_given_in_pixels_of_the_reference(
    width: int, recorded: TileGrid, expected: TileGrid
) -> None:
    reference = Image(np.zeros((8, width, 3), np.uint8))
    result = Image(np.zeros((32, 1024, 3), np.uint8))
    assert _grid_on(reference, row(result, tile_grid=recorded.as_dict())) == expected


def test_a_seam_is_found_where_the_picture_was_enhanced_before_it_was_upscaled() -> None:
    drawn = draw(1)
    raw, enhanced = image(area(drawn, 8)), image(area(drawn, 4))
    result = image(plant_seam(enlarge(area(drawn, 4)), 384, 6))
    grid = TileGrid((), (96,), 4.0)  # px of the enhanced picture, 256 x 192
    rows = {RAW: row(raw), "enhanced_images": row(enhanced), UPSCALED: row(result, tile_grid=grid.as_dict())}
    stage = ScoreStage(QualitySettings(diff=False), ("enhance", "upscale"))
    made = stage.run({"reference": raw, "result": result}, rows)
    document = document_of(made)
    assert made.status is Status.REJECTED
    lines = document["artifacts_detected"]["lines"]
    assert (lines["mode"], lines["detected"]) == ("grid", True)
    assert [(box["y"], box["width"]) for box in lines["boxes"]] == [(383, 1024)]
    assert document["tile_grid"] == {"xs": [], "ys": [48], "scale": 8.0}


def test_the_document_names_the_image_only_where_it_belongs_to_a_data_set() -> None:
    picture = image(draw(1, 64, 48, 1))
    rows = {
        RAW: row(picture, "first of 3 frames kept"),
        UPSCALED: row(picture, tile_grid=TileGrid().as_dict()),
    }
    stage = ScoreStage(QualitySettings(diff=False), ("upscale",))
    inputs = {"reference": picture, "result": picture}
    found = []
    for one in (stage, stage.for_shard("art", "00007")):
        assert one.fingerprint == stage.fingerprint
        document = document_of(one.run(inputs, rows))
        validate(document)
        assert document["notes"][0] == "first of 3 frames kept"
        assert document["reference"] == RAW
        found.append([document[name] for name in ("source_key", "image_id", "dataset", "shard")])
    assert found == [["set/a.png", None, None, None], ["set/a.png", "a-1", "art", "00007"]]


@pytest.mark.parametrize(("wanted", "shown"), [(1_000_000, "1000000"), (None, "none")])
def test_the_line_for_people_who_grep(
    wanted: int | None, shown: str, caplog: pytest.LogCaptureFixture
) -> None:
    picture = image(draw(1, 64, 48, 1))
    enhanced = replace(
        row(picture, "why not", min_bytes=wanted, min_bytes_met=False, model_load_seconds=0.5),
        size_bytes=900,
        format="PNG",
        seconds={"compute": 2.0, "resize": 1.5, "read": 1.0},
    )
    stage = ScoreStage(QualitySettings(diff=False), ("enhance",))
    with caplog.at_level("INFO", logger="imgpipe.stages.score"):
        made = stage.run({"reference": picture, "result": picture}, {RAW: row(picture), ENHANCED: enhanced})
    (line,) = caplog.messages
    assert line.startswith("QualityEnhancer: set/a.png dims_before=64x48 dims_after=64x48 psnr=")
    assert line.endswith(f" target_bytes={shown} actual_bytes=900 format=PNG")
    document = document_of(made)
    validate(document)
    # A stage's own steps are parts of its computing.
    assert document["timings_seconds"][ENHANCED] == 3.0
    assert document["timings_seconds"]["model_load"] == 0.5
    assert document["enhancement"] == {
        "min_bytes": wanted,
        "min_bytes_met": False,
        "max_bytes": None,
        "max_bytes_met": None,
        "reasons": ["why not"],
    }


@pytest.mark.parametrize(
    ("actions", "reference"),
    [
        ("upscale", RAW),
        ("enhance rembg", RAW),
        ("rembg upscale", MATTED),
        ("fix_artifacts", RAW),
        ("fix_artifacts upscale", FIXED),
        ("fix_artifacts enhance", FIXED),
        ("fix_artifacts rembg upscale", MATTED),
        ("rembg fix_artifacts upscale", FIXED),
        ("upscale fix_artifacts", RAW),
    ],
)
def test_what_was_changed_on_purpose_is_no_damage(actions: str, reference: str) -> None:
    assert dict(chain_of(tuple(actions.split()))[-1].roles)["reference"] == reference


def test_a_fixed_picture_that_a_person_replaced_is_scored_without_a_record_of_fixing() -> None:
    picture = image(draw(1, 64, 48, 1))
    rows = {RAW: row(picture), FIXED: row(picture, replaced=True)}
    stage = ScoreStage(QualitySettings(diff=False), ("fix_artifacts",))
    document = document_of(stage.run({"reference": picture, "result": picture}, rows))
    validate(document)
    assert "fix_artifacts" not in document


@pytest.mark.parametrize(
    ("details", "profile", "why"),
    [
        ({"network": {}}, "network", "its row names its maker, a network"),
        ({}, "classical", "nothing enlarged it"),
    ],
)
def test_an_enhanced_picture_is_judged_as_what_enlarged_it(
    details: dict[str, Any], profile: str, why: str
) -> None:
    picture = image(draw(3, 32, 24, 2))
    enhanced = replace(row(picture, **details), model=ModelUse("a network", "spandrel"))
    stage = ScoreStage(QualitySettings(), ("enhance",))
    made = stage.run({"reference": picture, "result": picture}, {RAW: row(picture), ENHANCED: enhanced})
    document = document_of(made)
    assert (document["profile"], document["profile_reason"]) == (profile, why)
