"""The output layout, letter by letter."""

from __future__ import annotations

import hashlib
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgpipe.errors import ConfigError
from imgpipe.names import dataset_name
from imgpipe.storage import keys
from imgpipe.storage.store import check_key, is_hidden


def test_layout() -> None:
    assert keys.manifest_key("demo", "00000") == "shards/demo/00000.parquet"
    assert keys.manifest_prefix("demo") == "shards/demo/"
    assert keys.image_prefix("matted", "demo", "00001") == "matted/demo/00001/"
    assert keys.table_prefix("raw_images", "demo") == "tables/raw_images/demo/"
    assert keys.report_prefix("demo") == "reports/demo/"
    assert keys.image_key("matted", "demo", "00001", "girl-0123456789", "png") == (
        "matted/demo/00001/girl-0123456789.png"
    )
    assert keys.image_key("matted", "demo", "00001", "g-01", ".PNG").endswith("/g-01.png")
    assert (
        keys.file_key("quality", "demo", "00000", "g-01", "quality.json")
        == "quality/demo/00000/g-01/quality.json"
    )
    assert keys.table_key("raw_images", "demo", "00000") == "tables/raw_images/demo/00000.parquet"
    assert keys.report_key("demo", "index.html") == "reports/demo/index.html"
    assert keys.report_key("demo", "thumbnails/g-01.webp") == "reports/demo/thumbnails/g-01.webp"


def test_rejected_results_lie_apart_and_come_back() -> None:
    good = keys.image_key("matted", "demo", "00001", "x-1", "png")
    apart = keys.placed_key(good, rejected=True)
    assert apart == "rejected/matted/demo/00001/x-1.png"
    assert keys.placed_key(apart, rejected=True) == apart
    assert keys.placed_key(apart, rejected=False) == keys.placed_key(good, rejected=False) == good
    assert keys.image_of(apart) == keys.image_of(good) == "x-1"
    assert keys.image_prefixes("matted", "demo", "00001") == (
        "matted/demo/00001/",
        "rejected/matted/demo/00001/",
    )
    quality = keys.file_key("quality", "demo", "00001", "x-1", "quality.json")
    assert keys.placed_key(quality, rejected=True) == quality
    assert keys.image_prefixes("quality", "demo", "00001") == ("quality/demo/00001/",)


def test_image_id_is_stem_and_digest_of_the_whole_key() -> None:
    digest = hashlib.sha256(b"a/b/Girl with hat.v2.PNG").hexdigest()
    assert keys.image_id("a/b/Girl with hat.v2.PNG") == f"Girl_with_hat_v2-{digest[:20]}"


@pytest.mark.parametrize(
    ("key", "stem"),
    [
        ("絵/名前.png", "名前"),
        ("..png", "image"),
        (".hidden", "hidden"),
        ("-rf.png", "rf"),
        ("noextension", "noextension"),
        ("x" * 300 + ".png", "x" * 120),
        ("絵" * 300 + ".png", "絵" * 40),
    ],
)
def test_stems(key: str, stem: str) -> None:
    assert keys.image_id(key)[:-21] == stem


@given(st.text(min_size=1, max_size=400))
def test_image_ids_are_safe_names(key: str) -> None:
    name = keys.image_id(key)
    assert re.fullmatch(r"[^/\\\s.'\"%#?&<>|:*-][^/\\\s.'\"%#?&<>|:*]*-[0-9a-f]{20}", name)
    assert len(name.encode()) <= 141
    assert unicodedata.normalize("NFC", name) == name
    assert {unicodedata.category(char)[0] for char in name} <= set("LNMP")
    built = keys.image_key("matted", "demo", "00000", name, "png")
    assert len(check_key(built)) == 4
    assert not is_hidden(built)
    keys.file_key("quality", "demo", "00000", name, "quality.json")


@given(st.sets(st.text(min_size=1, max_size=30), min_size=2, max_size=50))
def test_different_keys_have_different_ids(sources: set[str]) -> None:
    assert len({keys.image_id(key).lower() for key in sources}) == len(sources)


def test_shards() -> None:
    assert [keys.shard_name(index) for index in (0, 7, 99_999, 100_000)] == [
        "00000",
        "00007",
        "99999",
        "100000",
    ]
    assert keys.shard_index("100000") == 100_000
    with pytest.raises(ConfigError, match="shard"):
        keys.shard_name(-1)


@given(st.text().map(dataset_name), st.integers(0, 10**7))
def test_partition_keys_round_trip(dataset: str, index: int) -> None:
    shard = keys.shard_name(index)
    assert keys.partition_key(dataset, shard) == f"{dataset}-{shard}"
    assert keys.split_partition_key(keys.partition_key(dataset, shard)) == (dataset, shard)


@pytest.mark.parametrize(
    "key", ["demo", "demo-", "-00000", "demo-0", "demo-00000-x", "Demo-00000", "de mo-00000"]
)
def test_what_is_no_partition_key(key: str) -> None:
    with pytest.raises(ConfigError, match="expected"):
        keys.split_partition_key(key)


@pytest.mark.parametrize(
    "dataset", ["", "Demo", "_demo", "de-mo", "de/mo", "..", "demo\n", "da\u0308mo", "demo\u202e"]
)
def test_what_is_no_dataset(dataset: str) -> None:
    with pytest.raises(ConfigError, match="dataset: expected"):
        keys.manifest_key(dataset, "00000")


def test_parts_cannot_lead_elsewhere() -> None:
    with pytest.raises(ConfigError, match="image id"):
        keys.image_key("matted", "demo", "00000", "../../x", "png")
    with pytest.raises(ConfigError, match="file name"):
        keys.file_key("quality", "demo", "00000", "x-1", "../x.json")
    with pytest.raises(ConfigError, match="file name"):
        keys.report_key("demo", "a/../b.html")
    with pytest.raises(ConfigError, match="extension"):
        keys.image_key("matted", "demo", "00000", "x-1", "p/ng")
    with pytest.raises(ConfigError, match="stage folder"):
        keys.image_prefix("a/b", "demo", "00000")
    with pytest.raises(ConfigError, match="asset"):
        keys.table_prefix("", "demo")


@pytest.mark.parametrize(
    ("key", "shard"),
    [("shards/d/00012.parquet", "00012"), ("shards/d/00012.txt", None), ("shards/d/readme.parquet", None)],
)
def test_shard_of_manifest(key: str, shard: str | None) -> None:
    assert keys.shard_of_manifest(key) == shard
