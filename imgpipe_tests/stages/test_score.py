"""Scoring as a stage: the recorded tile grid, and what quality.json says of its image."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from imgpipe.images.image import Image
from imgpipe.records import ImageRow, Status, TileGrid
from imgpipe.settings import QualitySettings
from imgpipe.stages.catalogue import RAW, UPSCALED
from imgpipe.stages.protocol import StageResult
from imgpipe.stages.score import ScoreStage, _grid_on
from imgpipe_tests.quality.defects import plant_seam
from imgpipe_tests.quality.documents import validate
from imgpipe_tests.quality.drawings import area, draw, enlarge, image


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


def _document(made: StageResult) -> dict[str, Any]:
    data = made.outputs["quality.json"]
    assert isinstance(data, bytes)
    document: dict[str, Any] = json.loads(data)
    return document


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
    document = _document(made)
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
        document = _document(one.run(inputs, rows))
        validate(document)
        assert document["notes"][0] == "first of 3 frames kept"
        assert document["reference"] == RAW
        found.append([document[name] for name in ("source_key", "image_id", "dataset", "shard")])
    assert found == [["set/a.png", None, None, None], ["set/a.png", "a-1", "art", "00007"]]
