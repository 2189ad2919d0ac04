from __future__ import annotations

import pytest

from imgpipe.bakeoff.sample import draw, truths_of
from imgpipe.errors import ConfigError
from imgpipe.storage.memory import MemoryStore

PNG = b"\x89PNG\r\n\x1a\n"


def _store(*keys: str, data: bytes = PNG) -> MemoryStore:
    store = MemoryStore("sample")
    for key in keys:
        store.write(key, data)
    return store


def _drawn(store: MemoryStore, limit: int = 10, seed: int = 0, without: str = "") -> list[str]:
    return list(draw(store, limit, seed, max_bytes=1000, without=without).files)


def test_a_sample_is_spread_and_the_same_for_a_seed() -> None:
    keys = [f"{number:04d}.png" for number in range(1000)]
    first = _drawn(_store(*keys))
    assert first == sorted(first) == _drawn(_store(*reversed(keys)))
    assert first != _drawn(_store(*keys), seed=1)
    # Ten of a thousand in one half: 1 in 1000; these are 4 and 6, say.
    assert 2 <= sum(key < "0500" for key in first) <= 8
    assert set(_drawn(_store(*keys), limit=5)) < set(first)


def test_few_pictures_are_all_taken() -> None:
    assert _drawn(_store("b.png", "a.JPG", "notes.txt", ".hidden.png")) == ["a.JPG", "b.png"]


def test_what_is_no_picture_is_left_out_by_name_and_another_taken() -> None:
    store = _store(*(f"{number}.png" for number in range(6)))
    for key in ("0.png", "1.png"):
        store.write(key, b"<html></html>", overwrite=True)
    store.write("2.png", PNG + b"0" * 2000, overwrite=True)
    sample = draw(store, 6, 0, max_bytes=1000)
    assert (list(sample.files), sample.listed) == (["3.png", "4.png", "5.png"], 6)
    assert sorted(text.partition(":")[0] for text in sample.left_out) == ["0.png", "1.png", "2.png"]
    assert any("HTML" in text for text in sample.left_out)


def test_truths_inside_the_source_are_none_of_its_pictures() -> None:
    assert _drawn(_store("a.png", "truth/a.png"), without="truth/") == ["a.png"]


def test_a_source_without_pictures_is_refused() -> None:
    with pytest.raises(ConfigError, match="memory://sample: expected pictures, found 1"):
        _drawn(_store("a.png", data=b"no picture"))


def test_truths_belong_to_pictures_by_path_without_ending() -> None:
    truths = _store("girl.png", "sub/girl.webp", "other.png")
    assert truths_of(truths, ["girl.jpg", "sub/girl.png", "new.png"]) == {
        "girl.jpg": "girl.png",
        "sub/girl.png": "sub/girl.webp",
    }
    with pytest.raises(ConfigError, match=r"as new\.png for new\.jpg"):
        truths_of(truths, ["new.jpg"])
    with pytest.raises(ConfigError, match="belong to one picture"):
        truths_of(_store("a.png", "a.jpg"), ["a.png"])
