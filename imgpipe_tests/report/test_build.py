from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest

from imgpipe.errors import StoreUnavailable
from imgpipe.report.archive import archive_key
from imgpipe.storage.memory import MemoryStore
from imgpipe_tests.report.datasets import DATASET, DatasetBuilder, drawing, good_scores


def _table(builder: DatasetBuilder) -> pd.DataFrame:
    return pd.read_parquet(io.BytesIO(builder.output.read(archive_key(DATASET))))


def _thumbs(builder: DatasetBuilder) -> dict[str, str]:
    return {item.key: item.etag for item in builder.output.list(f"reports/{DATASET}/thumbs/")}


def test_result_counts_scores_and_places(builder: DatasetBuilder) -> None:
    result = builder.report()
    assert result.counts == {"n": 11, "ok": 8, "rejected": 1, "error": 1, "skipped": 1}
    frame = _table(builder)
    values = frame["psnr_y"].dropna()
    summary = result.metrics["psnr_y"]
    assert summary["mean"] == pytest.approx(values.mean())
    assert summary["p05"] == pytest.approx(values.quantile(0.05))
    assert summary["min"] == values.min()
    assert result.page_url == f"memory://output/reports/{DATASET}/index.html"
    assert result.thumbnails == 9
    assert result.thumbnail_files_written == len(_thumbs(builder)) == 9 * 6
    assert result.problems == ()


def test_look_alikes_share_a_group(builder: DatasetBuilder) -> None:
    result = builder.report()
    assert result.near_duplicate_groups == 1
    frame = _table(builder)
    group = frame[frame["duplicate_group"] == 0]["source_key"].tolist()
    assert group == ["set/girl 2.png", "set/girl 2 again.png"]
    assert frame["dhash"].notna().sum() == 9


def test_again_writes_no_thumbnail_and_reads_no_picture(builder: DatasetBuilder) -> None:
    builder.report()
    before, table = _thumbs(builder), _table(builder)
    for item in list(builder.source.list()):
        builder.source.delete(item.key)
    again = builder.report()
    assert again.thumbnail_files_written == 0
    assert again.problems == ()
    assert _thumbs(builder) == before
    pd.testing.assert_frame_equal(_table(builder), table)


def test_thumbnails_that_no_page_shows_are_removed_after_the_page(builder: DatasetBuilder) -> None:
    builder.report()
    result = builder.report(max_thumbnails=2)
    assert result.thumbnails == 2
    shown = _table(builder)["thumb_source"].dropna()
    # Two chosen, and the look-alikes are shown by their sources.
    assert len(shown) == 4
    assert len(_thumbs(builder)) == 2 * 6 + 2


def test_no_thumbnails_at_all(builder: DatasetBuilder) -> None:
    result = builder.report(max_thumbnails=0, max_hashes=0)
    assert (result.thumbnails, result.thumbnail_files_written, result.near_duplicate_groups) == (0, 0, 0)
    assert _thumbs(builder) == {}


def test_hashes_stop_at_the_limit_and_grow_with_the_next_report(builder: DatasetBuilder) -> None:
    builder.report(max_thumbnails=0, max_hashes=4)
    assert _table(builder)["dhash"].notna().sum() == 4
    builder.source.delete("set/girl 0.png")
    result = builder.report(max_thumbnails=0, max_hashes=9)
    assert _table(builder)["dhash"].notna().sum() == 9
    assert result.problems == ()


def test_a_picture_that_is_gone_is_a_problem_not_a_failure(builder: DatasetBuilder) -> None:
    builder.source.delete("set/girl 1.png")
    result = builder.report()
    assert result.counts["n"] == 11
    assert len(result.problems) == 1
    assert "set/girl 1.png" in result.problems[0]
    page = builder.output.read(result.page_key).decode()
    assert "Not everything could be read while this report was made." in page


def test_a_damaged_previous_report_is_said_and_replaced(builder: DatasetBuilder) -> None:
    builder.output.write(archive_key(DATASET), b"junk")
    result = builder.report()
    assert "no comparison with the previous report" in result.problems[0]
    assert len(_table(builder)) == 11
    assert builder.report().problems == ()


class _FailingStore(MemoryStore):
    """Refuses one key, as a store that breaks in the middle of a report."""

    def __init__(self, refused: str) -> None:
        super().__init__("failing")
        self.refused = refused

    def write(self, key: str, data: bytes, *, overwrite: bool = False) -> None:
        if key.endswith(self.refused):
            raise StoreUnavailable(f"{key}: the store does not answer")
        super().write(key, data, overwrite=overwrite)


@pytest.mark.parametrize("refused", ["images.parquet", "index.html", ".webp"])
def test_an_unfinished_report_leaves_the_old_page_with_all_its_pictures(
    builder: DatasetBuilder, refused: str
) -> None:
    store = _FailingStore("never")
    for item in builder.output.list():
        store.write(item.key, builder.output.read(item.key))
    builder.output = store
    first = builder.report()
    page, thumbs = store.read(first.page_key), _thumbs(builder)
    builder.add_image("set/new.png", good_scores(np.random.default_rng(9)), picture=drawing(77))
    store.refused = refused
    with pytest.raises(StoreUnavailable):
        builder.report(max_thumbnails=6)
    assert store.read(first.page_key) == page
    assert thumbs.items() <= _thumbs(builder).items()
    store.refused = "never"
    second = builder.report()
    assert second.counts["n"] == 12
    assert "11 images in both, 1 new" in store.read(second.page_key).decode()
