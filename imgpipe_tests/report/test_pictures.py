from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import PIL.Image
import pytest

from imgpipe.pictures.picture_set import PictureSet, find_pictures
from imgpipe.report.frame import ImageLine, collect_lines
from imgpipe.report.pictures import ThumbnailMaker
from imgpipe.storage import keys
from imgpipe_tests.report.datasets import ASSETS, DATASET, DatasetBuilder, drawing, good_scores, png


@pytest.fixture
def one() -> DatasetBuilder:
    built = DatasetBuilder()
    built.add_image("a/girl.png", good_scores(np.random.default_rng(0)), picture=drawing(1))
    return built


def _line(builder: DatasetBuilder) -> ImageLine:
    return collect_lines(builder.shards())[0]


def _maker(builder: DatasetBuilder) -> ThumbnailMaker:
    there = frozenset(item.key for item in builder.output.list(keys.report_prefix(DATASET)))
    return ThumbnailMaker(DATASET, builder.reader(), there)


def picture_set(line: ImageLine) -> PictureSet:
    return find_pictures(line.assets, line.stages, ASSETS[1])


def test_all_six_kinds_are_written_where_the_page_expects_them(one: DatasetBuilder) -> None:
    made = _maker(one).make(picture_set(_line(one)))
    assert list(made.paths) == ["source", "result", "matte", "diff", "detail_source", "detail_result"]
    assert (made.written, made.problem) == (6, "")
    sizes = {}
    for kind, path in made.paths.items():
        with PIL.Image.open(io.BytesIO(one.output.read(keys.report_key(DATASET, path)))) as opened:
            sizes[kind] = opened.size
    assert sizes["source"] == sizes["matte"] == sizes["diff"] == (96, 128)
    assert sizes["result"] == (240, 320)
    assert sizes["detail_source"] == sizes["detail_result"] == (320, 320)


def test_nothing_is_read_or_written_again(one: DatasetBuilder) -> None:
    pictures = picture_set(_line(one))
    first = _maker(one).make(pictures)
    one.source.delete("a/girl.png")
    again = _maker(one).make(pictures)
    assert (again.paths, again.written, again.problem) == (first.paths, 0, "")


def test_another_result_gets_other_names_and_only_those_are_made(one: DatasetBuilder) -> None:
    line = _line(one)
    first = _maker(one).make(picture_set(line))
    upscaled = replace(line.stages["upscaled_images"], output_sha256="other")
    changed = replace(line, stages={**line.stages, "upscaled_images": upscaled})
    second = _maker(one).make(picture_set(changed))
    same = {kind for kind, path in first.paths.items() if second.paths[kind] == path}
    assert same == {"source", "matte"}
    assert second.written == 4


@pytest.mark.parametrize(
    ("change", "problem", "left"),
    [
        ("missing", "ObjectMissing", set()),
        ("changed", "ObjectChanged", set()),
        ("result missing", "ObjectMissing", {"source", "matte"}),
        ("matte broken", "UnsupportedFormat", {"source"}),
    ],
)
def test_what_cannot_be_read_is_said_and_costs_only_itself(
    one: DatasetBuilder, change: str, problem: str, left: set[str]
) -> None:
    line = _line(one)
    if change == "missing":
        one.source.delete("a/girl.png")
    elif change == "changed":
        one.source.write("a/girl.png", png(drawing(9)), overwrite=True)
    elif change == "result missing":
        one.output.delete(line.stages["upscaled_images"].output_key)
    else:
        one.output.write(line.stages["matted_images"].output_key, b"<html>", overwrite=True)
    made = _maker(one).make(picture_set(line))
    assert made.problem.startswith(problem)
    assert set(made.paths) == left


def test_a_source_alone(one: DatasetBuilder) -> None:
    source = PictureSet(picture_set(_line(one)).source)
    made = _maker(one).make(source)
    assert list(made.paths) == ["source"]
    hashed = _maker(one).hash_source(source)
    assert (hashed.paths, hashed.source_hash) == ({}, made.source_hash)
    assert hashed.source_hash
