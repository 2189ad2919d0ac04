"""Addresses as people type them."""

from __future__ import annotations

from pathlib import Path

import pytest

from imgpipe.errors import ConfigError, StoreUnavailable
from imgpipe.settings import S3Settings
from imgpipe.storage.local import LocalStore
from imgpipe.storage.opening import open_store
from imgpipe_tests.imports import loaded_by

NONE = S3Settings(endpoint_url=None, region=None)


def test_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in put").mkdir()
    expected = str((tmp_path / "in put").resolve())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for url in (str(tmp_path / "in put"), "in put", "./in put/", "~/in put", f"file://{tmp_path}/in%20put"):
        store = open_store(url, NONE)
        assert isinstance(store, LocalStore)
        assert store.url == expected, url


def test_source_folder_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        open_store(str(tmp_path / "nowhere"), NONE)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigError, match="it is a file"):
        open_store(str(tmp_path / "file"), NONE)


def test_no_address_says_where_to_give_one() -> None:
    with pytest.raises(ConfigError, match="got nothing; give --output URL"):
        open_store(" ", S3Settings())


def test_output_folder_is_made(tmp_path: Path) -> None:
    open_store(str(tmp_path / "a" / "b"), NONE, create=True)
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").write_bytes(b"")
    for taken in (tmp_path / "file", tmp_path / "file" / "inner"):
        with pytest.raises(ConfigError, match="file in its place"):
            open_store(str(taken), NONE, create=True)


def test_folder_that_cannot_be_made() -> None:
    with pytest.raises(StoreUnavailable, match="cannot be opened"):
        open_store("/proc/imgpipe", NONE, create=True)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "  ",
        "http://host/x",
        "gs://bucket/x",
        "s3://",
        "s3:///prefix",
        "s3://B",
        "s3://a b/x",
        "file://host/x",
    ],
)
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"s3://bucket/prefix"):
        open_store(url, NONE)


@pytest.mark.parametrize(
    "url", ["s3://me:geheim@bucket/x", "https://me:geheim@host/bucket", "s3://geheim@bucket"]
)
def test_credentials_in_an_address_are_refused_and_not_shown(url: str) -> None:
    with pytest.raises(ConfigError, match="AWS_SECRET_ACCESS_KEY") as caught:
        open_store(url, NONE)
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("s3://my-bucket", "s3://my-bucket"),
        ("s3://my-bucket/", "s3://my-bucket"),
        ("S3://my-bucket/a/b/", "s3://my-bucket/a/b"),
        ("s3://my-bucket/with space/#1", "s3://my-bucket/with space/#1"),
    ],
)
def test_bucket(s3: S3Settings, url: str, expected: str) -> None:
    store = open_store(url, s3)
    assert store.url == expected
    assert store.uri("x.png") == f"{expected}/x.png"


def test_a_folder_needs_no_heavy_library() -> None:
    code = "import imgpipe.storage.opening, imgpipe.storage.tables, imgpipe.storage.manifests"
    assert loaded_by(code, ("numpy", "pandas", "pyarrow", "boto3", "botocore", "cv2", "PIL")) == []
