"""The stage's files, record and fingerprint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from imgpipe.images.decode import decode
from imgpipe.images.image import Image
from imgpipe.records import Status
from imgpipe.settings import EnhanceSettings, LimitSettings
from imgpipe.stages.enhance import EnhanceStage
from imgpipe.stages.protocol import StageResult
from imgpipe_tests.enhancement.pictures import noise, tagged, waves

LIMITS = LimitSettings()


def run(image: Image, **settings: Any) -> StageResult:
    wanted = EnhanceSettings(**{"min_width": 1, "min_height": 1, **settings})
    return EnhanceStage(wanted, LIMITS, Path(), "cpu").run({"source": image}, {})


@pytest.mark.parametrize(
    ("priority", "extension"), [(("PNG",), "png"), (("WEBP",), "webp"), (("JPEG",), "jpg")]
)
def test_files_and_what_the_row_needs(priority: tuple[str, ...], extension: str) -> None:
    source = tagged(waves(40, 60))
    result = run(source, save_format_priority=priority)
    assert list(result.outputs) == [f"source_enhanced.{extension}", "segmentation_feed.png"]
    data, feed = result.outputs.values()
    assert isinstance(data, bytes)
    assert isinstance(feed, Image)
    back = decode(data, name="x", limits=LIMITS)
    assert (back.width, back.height) == (feed.width, feed.height) == (90, 60)
    assert result.main_image is not None
    assert (result.main_image.width, result.main_image.height) == (90, 60)
    assert result.main_format == back.source_format == priority[0]
    assert feed.pixels.shape == (60, 90, 3)
    assert (result.status, result.reasons) == (Status.OK, ())


def test_the_feed_fits_the_file_where_a_target_reduced_it() -> None:
    result = run(Image(noise(200, 300, 4)), max_bytes=50_000)
    data, feed = result.outputs.values()
    assert isinstance(data, bytes)
    assert isinstance(feed, Image)
    back = decode(data, name="x", limits=LIMITS)
    assert (back.width, back.height) == (feed.width, feed.height)
    assert back.width < 450
    assert result.metrics["max_bytes_met"] == 1.0
    assert result.metrics["factor"] == pytest.approx(back.width / 300)
    assert "reduced from 450x300" in result.reasons[0]


def test_the_record_is_json_and_tells_every_attempt() -> None:
    result = run(Image(waves(40, 60, 4, 16)), min_width=60, min_height=40, max_bytes=1_000)
    details = json.loads(json.dumps(result.details))
    assert details["max_bytes_met"] is False
    assert details["attempts"][0]["format"] == "PNG"
    assert details["attempts"][0]["scale"] == 1.0
    assert len(details["attempts"]) == result.metrics["encodings"]
    assert set(details["passed_over"]) == {"WEBP", "JPEG"}
    assert details["enlarged"]["factor"] == 1.5
    assert "not reached" in result.reasons[0]
    assert result.main_image is not None
    assert result.main_image.bit_depth == 16


def test_fingerprints_follow_the_settings() -> None:
    def of(limits: LimitSettings = LIMITS, **settings: Any) -> str:
        return EnhanceStage(EnhanceSettings(**settings), limits, Path(), "cpu").fingerprint

    assert of() == of(LimitSettings(max_pixels=5, max_output_pixels=5))
    others = (
        {"quality": 96},
        {"max_bytes": 1000},
        {"min_bytes": 1000},
        {"scale_factor": 2.0},
        {"model": "bicubic"},
    )
    assert len({of(**other) for other in others} | {of()}) == 6
    small = LimitSettings(max_output_pixels=5)
    assert of(small, min_bytes=1000) != of(min_bytes=1000), "how large a picture may become for it"
