from __future__ import annotations

import pandas as pd
import pytest

from imgpipe.errors import ObjectUnreadable
from imgpipe.report.archive import ReportArchive, archive_key, read_archive, write_archive
from imgpipe.storage.memory import MemoryStore


def test_table_and_facts_come_back() -> None:
    store = MemoryStore()
    frame = pd.DataFrame({"image_id": ["a", "b"], "psnr_y": [31.5, float("inf")], "dhash": ["ff", None]})
    write_archive(store, "demo", ReportArchive(frame, {"created": "now", "drift": {"metrics": []}}))
    found = read_archive(store, "demo")
    assert found is not None
    assert found.facts == {"created": "now", "drift": {"metrics": []}}
    assert found.frame["psnr_y"].tolist() == [31.5, float("inf")]
    assert found.frame["dhash"].isna().tolist() == [False, True]


def test_none_and_damaged() -> None:
    store = MemoryStore()
    assert read_archive(store, "demo") is None
    store.write(archive_key("demo"), b"no parquet")
    with pytest.raises(ObjectUnreadable, match=r"images\.parquet"):
        read_archive(store, "demo")
