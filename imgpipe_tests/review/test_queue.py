"""Waiting, decided and outdated images, from tables and decisions alone."""

from __future__ import annotations

import json
from typing import Any

import pytest

from imgpipe.errors import ConfigError
from imgpipe.records import ImageRow, Status
from imgpipe.review.book import record
from imgpipe.review.decisions import Decision, Verdict
from imgpipe.review.queue import QueueItem, State, find_image, read_queue
from imgpipe.storage.manifests import plan, seal
from imgpipe.storage.memory import MemoryStore
from imgpipe.storage.store import ImageStore
from imgpipe.storage.tables import write_table

ASSETS = ("raw_images", "upscaled_images", "quality_reports")


def row(status: Status = Status.OK, sha: str = "", **values: Any) -> ImageRow:
    made = "" if status is Status.ERROR else "hash"
    return ImageRow(
        "a.png", IMAGE, "etag", status, output_sha256=sha, stage_hash=values.pop("stage_hash", made), **values
    )


IMAGE = "a-0123456789"


@pytest.fixture
def output() -> MemoryStore:
    return MemoryStore()


def tables(
    output: ImageStore, quality: ImageRow, upscaled: ImageRow | None = None, counted: bool = True
) -> None:
    """One shard with one image. ``counted``: the tables' footers say how many there are of each status."""
    source = MemoryStore()
    source.write("a.png", b"x")
    seal(plan(source, output, dataset="art", shard_size=1), output)
    rows = (row(sha="source"), upscaled or row(sha="picture"), quality)
    for asset, one in zip(ASSETS, rows, strict=True):
        counts = {status.value: int(one.status is status) for status in Status}
        meta = {"counts": json.dumps({"n": 1, **counts})} if counted else {}
        write_table(output, asset, "art", "00000", [one], meta=meta)


def queue(output: ImageStore, everything: bool = True) -> list[QueueItem]:
    return list(read_queue(output, "art", ASSETS, everything=everything))


def decide(
    output: ImageStore,
    verdict: Verdict,
    number: int = 1,
    *,
    asset: str = ASSETS[-1],
    looked_at: str = "picture",
) -> Decision:
    made_from = {"quality_reports": "picture", "upscaled_images": "source"}[asset]
    file = ("review/art/x", "f" * 64) if verdict is Verdict.REPLACED else ("", "")
    one = Decision(
        "art",
        asset,
        "00000",
        IMAGE,
        number,
        verdict,
        "ann",
        "2026-03-01",
        made_from,
        looked_at,
        "",
        (),
        *file,
    )
    record(output, one, b"file" if verdict is Verdict.REPLACED else None)
    return one


def rejected(**details: Any) -> ImageRow:
    return row(
        Status.REJECTED,
        "json",
        stage_failed=ASSETS[-1],
        reasons=("blurred",),
        details={"checks": [], **details},
    )


def test_good_images_are_not_listed(output: MemoryStore) -> None:
    for counted in (False, True):
        tables(output, row(sha="json", details={"checks": []}), counted=counted)
        assert queue(output) == []
    item = find_image(output, "art", ASSETS, IMAGE)
    assert (item.asset, item.state, item.subject(ASSETS[-1])) == (ASSETS[-1], State.DECIDED, "picture")


def test_a_rejected_image_waits_where_it_was_stopped(output: MemoryStore) -> None:
    tables(output, rejected())
    (item,) = queue(output, everything=False)
    assert (item.asset, item.state, item.reasons) == (ASSETS[-1], State.WAITING, ("blurred",))
    assert item.subject(item.asset) == "picture"
    assert item.outdated is None


def test_an_error_waits_with_its_message(output: MemoryStore) -> None:
    bad = row(Status.ERROR, stage_failed=ASSETS[1], error_class="OutOfMemory", error_message="too large")
    tables(output, bad, bad)
    (item,) = queue(output)
    assert (item.asset, item.reasons) == (ASSETS[1], ("OutOfMemory: too large",))


def test_a_decision_is_pending_until_the_row_shows_it(output: MemoryStore) -> None:
    tables(output, rejected())
    decide(output, Verdict.REJECTED)
    (item,) = queue(output)
    assert item.state is State.PENDING
    shown = {"verdict": "rejected", "number": 1, "before": {}}
    tables(output, rejected(review=shown))
    (item,) = queue(output)
    assert item.state is State.DECIDED
    assert queue(output, everything=False) == []
    decide(output, Verdict.WITHDRAWN, 2)
    assert queue(output)[0].state is State.PENDING


def test_a_decision_about_other_bytes_is_outdated(output: MemoryStore) -> None:
    tables(output, rejected())
    old = decide(output, Verdict.ACCEPTED, looked_at="what was there before")
    (item,) = queue(output)
    assert (item.state, item.outdated) == (State.WAITING, old)
    assert item.as_dict()["outdated"] is True


def test_a_replacement_is_pending_until_it_stands(output: MemoryStore) -> None:
    tables(output, rejected())
    decide(output, Verdict.REPLACED, asset=ASSETS[1])
    assert queue(output)[0].state is State.PENDING
    tables(output, rejected(), row(sha="fixed", details={"replaced": {"number": 1}}))
    (item,) = queue(output)
    assert (item.state, item.outdated) == (State.WAITING, None)  # It was used, and is judged like any other.
    tables(
        output, row(sha="json", details={"checks": []}), row(sha="fixed", details={"replaced": {"number": 1}})
    )
    assert queue(output)[0].state is State.DECIDED


def test_an_image_that_no_table_has_is_named(output: MemoryStore) -> None:
    tables(output, rejected())
    with pytest.raises(ConfigError, match=r"nobody-1: no table of data set 'art'"):
        find_image(output, "art", ASSETS, "nobody-1")
