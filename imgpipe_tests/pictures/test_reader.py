"""Where stored pictures are decoded, and how often."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from imgpipe.errors import DecodeError, LimitExceeded
from imgpipe.images import isolation
from imgpipe.images.image import Image
from imgpipe.images.isolation import process
from imgpipe.pictures.picture_set import PictureSet, find_pictures
from imgpipe.pictures.reader import OpenPictures
from imgpipe.settings import IsolationSettings, LimitSettings
from imgpipe.storage.memory import MemoryStore
from imgpipe_tests.images.isolation.test_isolation import MISBEHAVING
from imgpipe_tests.pictures.overlaps import Overlaps
from imgpipe_tests.report.datasets import ASSETS, DATASET, DatasetBuilder, drawing, good_scores

ROOT = Path(__file__).resolve().parents[2]
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="isolation needs Linux")


class _ByKey(MemoryStore):
    """Names objects by their keys alone, which is what the misbehaving decoder goes by."""

    def uri(self, key: str) -> str:
        return key


@pytest.fixture
def misbehaving(monkeypatch: pytest.MonkeyPatch) -> Iterator[IsolationSettings]:
    """Workers that do as the name of their file says; they end with the test."""
    monkeypatch.setattr(process, "_WORKER_CODE", MISBEHAVING)
    monkeypatch.setattr(isolation, "_kept", {})
    monkeypatch.syspath_prepend(ROOT)
    yield IsolationSettings(timeout_seconds=2)
    for decoder in isolation._kept.values():
        decoder.close()


def _dataset(*names: str) -> DatasetBuilder:
    built = DatasetBuilder(source=_ByKey("source"))
    for seed, name in enumerate(names):
        built.add_image(name, good_scores(np.random.default_rng(seed)), picture=drawing(seed))
    return built


def _pictures(built: DatasetBuilder, place: int = 0) -> PictureSet:
    rows = {asset: table[place] for asset, table in built.tables["00000"].items()}
    return find_pictures(ASSETS, rows, ASSETS[1])


@linux
def test_a_hostile_source_costs_the_report_its_thumbnails(
    misbehaving: IsolationSettings,
) -> None:
    built = _dataset("segfault", "hang", "good.png")
    result = built.report(isolation=misbehaving)
    assert result.counts["n"] == 3
    assert [text.partition(":")[0] for text in result.problems] == ["segfault", "hang"]
    assert all("DecodeError" in text for text in result.problems)
    shown = [item.key for item in built.output.list(f"reports/{DATASET}/thumbs/")]
    assert len(shown) == 6
    assert all("/good-" in key for key in shown)


@linux
def test_sources_are_decoded_in_workers_and_own_files_here(
    misbehaving: IsolationSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    here: list[str] = []

    def decode(data: bytes, *, name: str, limits: LimitSettings) -> Image:
        here.append(name)
        return Image(np.zeros((1, 1, 3), np.uint8))

    monkeypatch.setattr("imgpipe.images.decode.decode", decode)
    built = _dataset("abort", "good.png")
    reader = built.reader(misbehaving)
    assert built.tables["00000"]["raw_images"][0].output_store == "source"
    with pytest.raises(DecodeError, match="abort"):
        reader.read(built.tables["00000"]["raw_images"][0])
    assert np.array_equal(reader.read(built.tables["00000"]["raw_images"][1]).pixels, drawing(1))
    assert here == []
    own = built.tables["00000"]["matted_images"][0]
    reader.read(own)
    assert here == [built.output.uri(own.output_key)]


def test_own_files_may_be_larger_than_sources() -> None:
    built = _dataset("a.png")
    limits = LimitSettings(max_pixels=100, max_output_pixels=1_000_000)
    reader = replace(built.reader(), limits=limits)
    pictures = _pictures(built)
    assert pictures.source is not None
    assert pictures.result is not None
    assert reader.read(pictures.result).width == 4 * 96
    with pytest.raises(LimitExceeded):
        reader.read(pictures.source)
    reason = OpenPictures(pictures, reader).get_or_reason(pictures.source)
    assert isinstance(reason, str)
    assert reason.startswith("LimitExceeded: a.png")


def test_each_picture_is_opened_once(monkeypatch: pytest.MonkeyPatch) -> None:
    built = _dataset("a.png")
    overlaps = Overlaps(monkeypatch)
    opened = OpenPictures(_pictures(built), built.reader())
    for row in (opened.pictures.matte, opened.pictures.reference, opened.pictures.matte):
        assert row is not None
        opened.get(row)
    assert overlaps.rows == [opened.pictures.matte]
