from __future__ import annotations

from dataclasses import replace

import pytest

from imgpipe.pictures.picture_set import PictureSet, find_pictures
from imgpipe.records import ImageRow, Status

ASSETS = ("raw_images", "matted_images", "upscaled_images", "quality_reports")


def row(key: str, side: int, status: Status = Status.OK) -> ImageRow:
    return ImageRow("a.png", "a", "e", status, output_key=key, width=side, height=side)


@pytest.fixture
def rows() -> dict[str, ImageRow]:
    made = [row("a.png", 10), row("matted/a.png", 10), row("upscaled/a.png", 40), row("quality.json", 0)]
    return dict(zip(ASSETS, made, strict=True))


def found(rows: dict[str, ImageRow], assets: tuple[str, ...] = ASSETS) -> PictureSet:
    return find_pictures(assets, rows, "matted_images")


def test_the_reference_is_what_was_enlarged(rows: dict[str, ImageRow]) -> None:
    raw, matted, upscaled, _ = rows.values()
    assert found(rows) == PictureSet(raw, matted, matted, upscaled)
    assert found(rows).pixels == 1600
    # Enlarged first, matted afterwards: the last two have one size, so the source is the reference.
    swapped = ("raw_images", "upscaled_images", "matted_images", "quality_reports")
    rows["matted_images"] = replace(matted, width=40, height=40)
    assert found(rows, swapped).reference is raw


def test_without_an_upscaler_the_cutout_is_compared_with_the_source(rows: dict[str, ImageRow]) -> None:
    raw, matted, _, _ = rows.values()
    assert found(rows, ("raw_images", "matted_images", "quality_reports")) == PictureSet(
        raw, matted, raw, matted
    )


def test_a_stage_that_failed_leaves_the_pictures_before_it(rows: dict[str, ImageRow]) -> None:
    raw, matted, _, _ = rows.values()
    rows["upscaled_images"] = row("", 0, Status.ERROR)
    assert found(rows) == PictureSet(raw, matted)
    rows["matted_images"] = replace(matted, status=Status.REJECTED)  # A doubtful matte is shown.
    assert found(rows) == PictureSet(raw, rows["matted_images"])


def test_an_unreadable_source_has_no_pictures(rows: dict[str, ImageRow]) -> None:
    rows["raw_images"] = row("", 0, Status.ERROR)
    assert found(rows) == PictureSet(None)
    assert found(rows).pixels == 0
    assert found({}) == PictureSet(None)
