"""What a person calls an image is found: key, path, address or id."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from imgpipe.storage.memory import MemoryStore
from imgpipe.storage.source_names import SourceName, key_of, not_found
from imgpipe.storage.source_record import record_source

IMAGES = [("girl-01", "a/girl.png"), ("girl-02", "b/girl.png"), ("猫-03", "画/猫が 一匹.png")]


def test_a_path_below_the_source_is_its_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "my art"
    (source / "a").mkdir(parents=True)
    (source / "a" / "girl.png").touch()
    (tmp_path / "link").symlink_to(source)
    monkeypatch.chdir(tmp_path)
    url = str(source.resolve())
    for name in ("my art/a/girl.png", "link/a/girl.png", f"{source}/a/girl.png", "./my art/b/../a/girl.png"):
        assert key_of(name, url) == "a/girl.png", name
    monkeypatch.chdir(source / "a")
    assert key_of("girl.png", url) == "a/girl.png", "a file of the working directory"
    assert key_of("a/girl.png", url) == "a/girl.png", "a key, since no such file is below a/"
    assert key_of("/elsewhere/girl.png", url) == "/elsewhere/girl.png"
    assert key_of("girl.png", "") == "girl.png"


def test_an_address_below_the_source_is_its_key() -> None:
    assert key_of("s3://bucket/raw/a/girl.png", "s3://bucket/raw") == "a/girl.png"
    assert key_of("s3://other/raw/a/girl.png", "s3://bucket/raw") == "s3://other/raw/a/girl.png"


@pytest.mark.parametrize(
    ("name", "image_id"),
    [
        ("girl-02", "girl-02"),
        ("b/girl.png", "girl-02"),
        ("/art/b/girl.png", "girl-02"),
        (unicodedata.normalize("NFD", "画/猫が 一匹.png"), "猫-03"),
        ("girl", None),
    ],
)
def test_an_image_is_found_by_any_of_its_names(name: str, image_id: str | None) -> None:
    output = MemoryStore()
    record_source(output, "art", "/art")
    assert SourceName(output, "art", name).find(IMAGES) == image_id


def test_sources_of_the_same_file_name_are_suggested() -> None:
    name = SourceName(MemoryStore(), "art", "girl.png")
    assert name.find(IMAGES) is None
    assert str(not_found("girl.png", "nothing", name.similar)).endswith(
        "did you mean 'a/girl.png' or 'b/girl.png'?"
    )
