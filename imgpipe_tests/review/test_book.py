"""Decisions in every kind of store: nothing is overwritten, nothing is lost."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from imgpipe.errors import ConfigError, ObjectExists, ObjectUnreadable
from imgpipe.review.book import decision_digests, read_decisions, record
from imgpipe.review.decisions import Decision, Verdict
from imgpipe.storage import keys
from imgpipe.storage.memory import MemoryStore
from imgpipe.storage.store import ImageStore
from imgpipe_tests.storage.conftest import store

__all__ = ["store"]


def decision(number: int, image_id: str = "girl-1", shard: str = "00000") -> Decision:
    return Decision(
        "art", "quality_reports", shard, image_id, number, Verdict.ACCEPTED, "ann", "2026-03-01", "in", "out"
    )


def test_a_history_is_read_back_in_order(store: ImageStore) -> None:
    for number in (1, 2, 3):
        record(store, decision(number))
    record(store, decision(1, "boy-2"))
    record(store, decision(1, "far-3", "00001"))
    found = read_decisions(store, "art", "quality_reports", "00000")
    assert found.of("girl-1") == (decision(1), decision(2), decision(3))
    assert found.of("boy-2") == (decision(1, "boy-2"),)
    assert found.of("nobody") == ()
    assert set(found.histories) == {"girl-1", "boy-2"}


def test_one_listing_tells_which_shards_have_new_decisions(store: ImageStore) -> None:
    assert decision_digests(store, "art") == {}
    assert read_decisions(store, "art", "quality_reports", "00000").digest == ""
    record(store, decision(1))
    record(store, decision(1, "far-3", "00001"))
    before = decision_digests(store, "art")
    record(store, decision(2))
    after = decision_digests(store, "art")
    place, other = ("quality_reports", "00000"), ("quality_reports", "00001")
    assert before[place] != after[place]
    assert before[other] == after[other]
    assert after[place] == read_decisions(store, "art", "quality_reports", "00000").digest


def test_of_two_who_decide_at_once_one_is_told() -> None:
    store = MemoryStore()

    def decide(name: str) -> str:
        try:
            record(store, replace(decision(1), by=name))
        except ObjectExists as exc:
            return "told" if "decide again" in str(exc) else "not told"
        return name

    with ThreadPoolExecutor(8) as pool:
        answers = sorted(pool.map(decide, "abcdefgh"))
    (kept,) = read_decisions(store, "art", "quality_reports", "00000").of("girl-1")
    assert answers == [kept.by, *["told"] * 7]


def test_a_handed_in_file_lies_beside_its_decision_and_is_no_decision(store: ImageStore) -> None:
    key = keys.handed_in_key("art", "upscaled_images", "00000", "girl-1", 1, "ab" * 32, "webp")
    one = replace(
        decision(1), asset="upscaled_images", verdict=Verdict.REPLACED, file_key=key, file_sha256="ab" * 32
    )
    record(store, one, b"picture")
    assert store.read(key) == b"picture"
    assert read_decisions(store, "art", "upscaled_images", "00000").of("girl-1") == (one,)
    assert set(decision_digests(store, "art")) == {("upscaled_images", "00000")}
    with pytest.raises(ConfigError):
        record(store, replace(one, number=2))
    with pytest.raises(ConfigError):
        record(store, decision(2), b"picture")


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"schema_version": "9"}', b"\xff\xfe"])
def test_a_foreign_file_is_named(text: bytes) -> None:
    store = MemoryStore()
    key = keys.decision_key("art", "quality_reports", "00000", "girl-1", 1)
    store.write(key, text)
    with pytest.raises(ObjectUnreadable, match=r"00001\.json: expected a decision"):
        read_decisions(store, "art", "quality_reports", "00000")


def test_the_keys_of_decisions() -> None:
    key = keys.decision_key("art", "quality_reports", "00012", "girl-1", 7)
    assert key == "review/art/quality_reports/00012/girl-1/00007.json"
    assert keys.decision_of(key) == ("quality_reports", "00012")
    assert keys.decision_of("review/art/quality_reports/00012/girl-1/00007-abcdefabcdef.json") is None
    assert keys.decision_of("reports/art/index.html") is None
    for number in (0, 100_000):
        with pytest.raises(ConfigError):
            keys.decision_key("art", "quality_reports", "00012", "girl-1", number)
    with pytest.raises(ConfigError):
        keys.handed_in_key("art", "matted_images", "00012", "girl-1", 1, "short", "png")
