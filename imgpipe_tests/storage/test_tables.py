"""Rows to Parquet and back, exactly."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgpipe.errors import ConfigError, ObjectMissing, ObjectUnreadable
from imgpipe.records import ImageRow, ModelUse, Status
from imgpipe.storage.memory import MemoryStore
from imgpipe.storage.store import ImageStore
from imgpipe.storage.tables import (
    FIXED_COLUMNS,
    read_meta,
    read_table,
    rows_digest,
    table_exists,
    write_table,
)

GOOD = ImageRow(
    source_key="a/絵.png",
    image_id="image-0123456789",
    etag="abc",
    status=Status.REJECTED,
    reasons=("colours shifted by 3.2 of 255, allowed 2.0", "second"),
    attempts=2,
    input_sha256="1" * 64,
    output_sha256="2" * 64,
    stage_hash="3" * 64,
    output_key="upscaled/demo/00000/image-0123456789.png",
    width=2560,
    height=1920,
    bit_depth=16,
    format="PNG",
    size_bytes=5_000_000_000,
    model=ModelUse("lanczos", "classical", fallback_reason="weights are missing"),
    seconds={"read": 0.25, "compute": 1.5},
    metrics={"psnr_y": math.inf, "ssim_y": 0.975, "width": 3.0},
    details={"tile_grid": {"xs": [1, 2], "ys": [], "scale": 4.0}, "text": "名"},
)
BAD = ImageRow(
    source_key="b.png",
    image_id="b-0123456789",
    etag="def",
    status=Status.ERROR,
    stage_failed="raw_images",
    error_class="DecodeError",
    error_message="b.png: truncated",
)


def write(store: ImageStore, rows: list[ImageRow], shard: str = "00000", **meta: str) -> None:
    write_table(store, "raw_images", "demo", shard, rows, meta=meta)


def read(store: ImageStore, shard: str = "00000") -> list[ImageRow]:
    return read_table(store, "raw_images", "demo", shard)[0]


def arrow(store: ImageStore, shard: str = "00000") -> pa.Table:
    return pq.read_table(pa.BufferReader(store.read(f"tables/raw_images/demo/{shard}.parquet")))


def test_round_trip(store: ImageStore) -> None:
    assert not table_exists(store, "raw_images", "demo", "00000")
    write(store, [GOOD, BAD], manifest_digest="m", fingerprint="f", upstream_digest="u", table_digest="t")
    assert table_exists(store, "raw_images", "demo", "00000")
    rows, meta = read_table(store, "raw_images", "demo", "00000")
    assert rows == [GOOD, BAD]
    assert meta == {"manifest_digest": "m", "fingerprint": "f", "upstream_digest": "u", "table_digest": "t"}
    assert read_meta(store, "raw_images", "demo", "00000") == meta


def test_columns_and_their_order() -> None:
    store = MemoryStore()
    write(store, [BAD, GOOD])
    table = arrow(store)
    assert table.column_names == [
        *FIXED_COLUMNS,
        "seconds_compute",
        "seconds_read",
        "psnr_y",
        "ssim_y",
        "metric_width",
    ]
    assert FIXED_COLUMNS[:4] == ("source_key", "image_id", "etag", "status")
    last = table.to_pylist()[1]
    assert last["reasons"] == list(GOOD.reasons)
    assert last["fallback_reason"] == "weights are missing"
    assert (last["width"], last["metric_width"], last["seconds_read"]) == (2560, 3.0, 0.25)
    assert json.loads(last["details"]) == GOOD.details
    assert table.to_pylist()[0]["model_name"] is None
    assert table.to_pylist()[0]["psnr_y"] is None


def test_a_table_without_output_store_is_read_by_its_keys() -> None:
    """Tables of earlier versions: in raw_images the key is the source's own."""
    store = MemoryStore()
    raw = replace(GOOD, output_key=GOOD.source_key, output_store="source")
    write(store, [raw, GOOD, BAD])
    older = arrow(store).drop_columns(["output_store"])
    sink = pa.BufferOutputStream()
    pq.write_table(older, sink)
    store.write("tables/raw_images/demo/00000.parquet", sink.getvalue().to_pybytes(), overwrite=True)
    assert read(store) == [raw, GOOD, BAD]


def test_empty_shard() -> None:
    store = MemoryStore()
    write(store, [], fingerprint="f")
    assert read_table(store, "raw_images", "demo", "00000") == ([], {"fingerprint": "f"})
    table = arrow(store)
    assert table.column_names == list(FIXED_COLUMNS)
    write(store, [GOOD], "00001")
    full = arrow(store, "00001").schema
    assert [table.schema.field(name).type for name in FIXED_COLUMNS] == [
        full.field(n).type for n in FIXED_COLUMNS
    ]


def test_nan_none_and_numpy() -> None:
    store = MemoryStore()
    metrics: dict[str, Any] = {"nan": math.nan, "none": None, "np": np.float32(0.5), "flag": True, "whole": 3}
    details = {"scalar": np.int64(3), "array": np.arange(3), "pair": (1, 2), "nan": math.nan}
    write(store, [replace(BAD, metrics=metrics, details=details, seconds={"read": math.nan})])
    (row,) = read(store)
    assert math.isnan(row.metrics["nan"])
    assert dict(row.metrics) == {"nan": row.metrics["nan"], "np": 0.5, "flag": 1.0, "whole": 3.0}
    assert math.isnan(row.seconds["read"])
    assert (row.details["scalar"], row.details["array"], row.details["pair"]) == (3, [0, 1, 2], [1, 2])


def test_text_that_is_no_unicode_does_not_lose_the_table() -> None:
    store = MemoryStore()
    write(store, [GOOD])
    write(store, [replace(BAD, error_message="caf\udce9.png", reasons=("\udcff",))])
    (row,) = read(store)
    assert (row.error_message, row.reasons) == ("caf\\udce9.png", ("\\udcff",))


def test_details_must_be_json() -> None:
    with pytest.raises(TypeError, match="details: expected JSON values, got set"):
        write(MemoryStore(), [replace(BAD, details={"x": {1, 2}})])


def test_names_that_collide() -> None:
    metrics = {
        "seconds_read": 1.0,
        "metric_width": 2.0,
        "width": 3.0,
        "shard": 4.0,
        "metric_metric_width": 5.0,
    }
    row = replace(BAD, metrics=metrics, seconds={"read": 6.0})
    store = MemoryStore()
    write(store, [row])
    assert read(store) == [row]
    names = arrow(store).column_names
    assert len(set(names)) == len(names)
    assert "shard" not in names


def test_missing_and_broken() -> None:
    store = MemoryStore()
    assert read_meta(store, "raw_images", "demo", "00000") is None
    with pytest.raises(ObjectMissing):
        read(store)
    key = "tables/raw_images/demo/00000.parquet"
    for data in (b"", b"no parquet"):
        store.write(key, data, overwrite=True)
        with pytest.raises(ObjectUnreadable, match=r"00000\.parquet.*run again"):
            read(store)
        with pytest.raises(ObjectUnreadable):
            read_meta(store, "raw_images", "demo", "00000")
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"x": [1]}), sink)
    store.write(key, sink.getvalue().to_pybytes(), overwrite=True)
    for attempt in (read, lambda s: read_meta(s, "raw_images", "demo", "00000")):
        with pytest.raises(ObjectUnreadable, match="version"):
            attempt(store)


@pytest.mark.parametrize("name", ["imgpipe.columns", "pandas", "ARROW:schema"])
def test_reserved_metadata(name: str) -> None:
    with pytest.raises(ConfigError, match="reserved"):
        write(MemoryStore(), [], **{name: "x"})


def test_rows_digest() -> None:
    base = rows_digest([GOOD, BAD])
    assert rows_digest([BAD, GOOD]) == base
    assert rows_digest([replace(GOOD, seconds={}, metrics={}, attempts=9), BAD]) == base
    for change in ({"output_sha256": "x"}, {"stage_hash": "x"}, {"status": Status.OK}, {"image_id": "x-1"}):
        assert rows_digest([replace(GOOD, **change), BAD]) != base, change
    assert rows_digest([BAD]) != base
    # quality.json holds times: its bytes differ from run to run, what was found does not.
    scored = replace(GOOD, format="JSON")
    base = rows_digest([scored])
    assert rows_digest([replace(scored, output_sha256="x", seconds={}, size_bytes=1)]) == base
    others: list[dict[str, Any]] = [
        {"metrics": {"psnr_y": 1.0}},
        {"reasons": ("another",)},
        {"stage_hash": "x"},
    ]
    for other in others:
        assert rows_digest([replace(scored, **other)]) != base, other
    assert len({base, rows_digest([])}) == 2


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
floats = st.floats(allow_nan=False)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | floats | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
measured_names = st.sampled_from(["psnr_y", "width", "seconds_read", "metric_width", "status", "shard", "é"])
rows = st.builds(
    ImageRow,
    source_key=texts,
    image_id=texts,
    etag=texts,
    status=st.sampled_from(Status),
    stage_failed=texts,
    error_class=texts,
    error_message=texts,
    reasons=st.lists(texts, max_size=3).map(tuple),
    attempts=st.integers(0, 2**62),
    width=st.integers(0, 2**31),
    format=texts,
    size_bytes=st.integers(0, 2**62),
    model=st.none() | st.builds(ModelUse, *[texts] * 6),
    seconds=st.dictionaries(st.sampled_from(["read", "decode", "é"]), floats),
    metrics=st.dictionaries(measured_names, floats),
    details=st.dictionaries(texts, json_values, max_size=3),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(rows, max_size=5), st.dictionaries(st.sampled_from(["fingerprint", "table_digest"]), texts))
def test_any_rows_round_trip(made: list[ImageRow], meta: dict[str, str]) -> None:
    store = MemoryStore()
    write(store, made, **meta)
    assert read_table(store, "raw_images", "demo", "00000") == (made, meta)
