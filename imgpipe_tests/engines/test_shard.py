"""One asset over one shard: what is carried, kept and computed, and what a crash costs."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from imgpipe.config import Settings
from imgpipe.engines.files import lost_outputs
from imgpipe.engines.kept import KEPT
from imgpipe.engines.shard import run_shard
from imgpipe.errors import LeaseLost, ObjectMissing, StoreUnavailable
from imgpipe.images import decode
from imgpipe.images.encode import encode
from imgpipe.images.image import Image
from imgpipe.records import ImageRow, Status
from imgpipe.stages.catalogue import RAW
from imgpipe.stages.chain import Step, steps
from imgpipe.stages.protocol import Stage, StageResult
from imgpipe.stages.read import DECODER_VERSIONS, ReadStage
from imgpipe.storage import keys, lease
from imgpipe.storage.local import LocalStore
from imgpipe.storage.manifests import read_manifest
from imgpipe.storage.memory import MemoryStore
from imgpipe.storage.opening import Stores
from imgpipe.storage.s3 import S3Store
from imgpipe.storage.s3_client import s3_client
from imgpipe.storage.tables import read_table, write_table
from imgpipe_tests.engines.levels import MATTE, READ, SCORE, SETTINGS, Cutout, flat, replan
from imgpipe_tests.images import sources

COUNT = 6
GONE = {4: StoreUnavailable("the store is gone")}


@pytest.fixture
def stores() -> Stores:
    made = Stores(MemoryStore("source"), MemoryStore("output"))
    for level in range(COUNT):
        made.source.write(f"{level}.png", flat(level))
    replan(made)
    return made


def read(stores: Stores) -> None:
    run_shard(READ, ReadStage(SETTINGS.limits), SETTINGS, stores, "00000")


def rows_of(stores: Stores, step: Step, stage: Cutout) -> dict[str, ImageRow]:
    result = run_shard(step, stage, SETTINGS, stores, "00000")
    assert result.counts["n"] == len(result.rows)
    return {row.source_key: row for row in result.rows}


def test_a_stage_needs_the_tables_before_it(stores: Stores) -> None:
    with pytest.raises(ObjectMissing, match="materialize raw_images"):
        run_shard(MATTE, Cutout(), SETTINGS, stores, "00000")


def test_a_row_says_which_store_its_output_is_in(stores: Stores) -> None:
    read(stores)
    rows, _ = read_table(stores.output, READ.asset, "art", "00000")
    assert {(row.output_key == row.source_key, row.output_store) for row in rows} == {(True, "source")}
    made = rows_of(stores, MATTE, Cutout()).values()
    assert {row.output_store for row in made} == {"output"}
    assert all(stores.output.exists(row.output_key) for row in made)


def test_a_crash_costs_only_what_was_not_noted_yet(stores: Stores) -> None:
    read(stores)
    with pytest.raises(StoreUnavailable):
        run_shard(MATTE, Cutout(failures=GONE), SETTINGS, stores, "00000")
    assert not stores.output.exists(keys.table_key("matted_images", "art", "00000"))
    again = Cutout()
    result = run_shard(MATTE, again, SETTINGS, stores, "00000")
    # The one in flight beside it may have been finished and noted.
    assert sorted(again.seen) in ([4], [4, 5])
    assert (result.computed, result.kept) == (len(again.seen), COUNT - len(again.seen))
    # The attempt that ended with the process counts.
    assert [row.attempts for row in result.rows] == [1, 1, 1, 1, 2, 1]
    assert [item.key for item in stores.output.list("tables/unfinished_matted_images")] == []


def test_attempts_that_ended_with_the_process_count_as_long_as_the_source_is_the_same(
    stores: Stores,
) -> None:
    read(stores)
    noted = keys.in_flight_key("unfinished_matted_images", "art", "00000")
    entries = read_manifest(stores.output, "art", "00000").entries
    etags = {entry.source_key: (entry.image_id, entry.etag) for entry in entries}
    one, two = etags["1.png"], etags["2.png"]
    stores.output.write(noted, json.dumps({one[0]: [one[1], 2], two[0]: ["another", 7]}).encode())
    rows = rows_of(stores, MATTE, Cutout())
    assert [rows[f"{level}.png"].attempts for level in range(COUNT)] == [1, 3, 1, 1, 1, 1]
    assert not stores.output.exists(noted)


class Killed(BaseException):
    """What no handler catches."""


@dataclass
class Killing(Cutout):
    """Ends its process at one picture: nothing is written any more."""

    output: MemoryStore = field(default_factory=MemoryStore)

    def run(self, inputs: Mapping[str, Image], rows: Mapping[str, ImageRow]) -> StageResult:
        if inputs["source"].pixels[0, 0, 0] == 3:
            self.output.write = lambda *_, **__: None  # type: ignore[method-assign]
            raise Killed
        return super().run(inputs, rows)


def test_after_a_kill_an_image_is_noted_before_anything_is_done_with_it(stores: Stores) -> None:
    read(stores)
    for attempt in (0, 1, 2):
        output = cast(MemoryStore, stores.output)
        with pytest.raises(Killed):
            run_shard(MATTE, Killing(output=output), SETTINGS, stores, "00000")
        del output.write
        noted = json.loads(output.read(keys.in_flight_key("unfinished_matted_images", "art", "00000")))
        counted = [count for name, (_, count) in noted.items() if name.startswith("3-")]
        assert counted == ([attempt] if attempt else [])  # The first time it was too quick.
    assert rows_of(stores, MATTE, Cutout())["3.png"].attempts == 3


@pytest.mark.parametrize("seconds", [0.01, 60.0])
def test_what_is_in_flight_is_noted_at_intervals(
    stores: Stores, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgpipe.engines.journal.NOTE_SECONDS", seconds)
    read(stores)
    note = keys.in_flight_key("unfinished_matted_images", "art", "00000")
    noted: list[dict[str, Any]] = []
    write = stores.output.write

    def listening(key: str, data: bytes, **options: bool) -> None:
        if key == note:
            noted.append(json.loads(data))
        write(key, data, **options)

    class Slow(Cutout):
        def run(self, inputs: Mapping[str, Image], rows: Mapping[str, ImageRow]) -> StageResult:
            time.sleep(0.05)
            return super().run(inputs, rows)

    monkeypatch.setattr(stores.output, "write", listening)
    rows_of(stores, MATTE, Slow())
    assert noted[0]
    assert len(noted) == 1 if seconds > 1 else 1 < len(noted) <= COUNT
    assert not stores.output.exists(note)


@pytest.mark.parametrize("data", [b"", b"[]", b'{"a": 1}', b'{"a": ["x", "y"]}'])
def test_a_damaged_note_stops_nothing(stores: Stores, data: bytes) -> None:
    read(stores)
    stores.output.write(keys.in_flight_key("unfinished_matted_images", "art", "00000"), data)
    assert {row.attempts for row in rows_of(stores, MATTE, Cutout()).values()} == {1}


def test_a_noted_row_of_other_settings_is_not_kept(stores: Stores) -> None:
    read(stores)
    with pytest.raises(StoreUnavailable):
        run_shard(MATTE, Cutout(failures=GONE), SETTINGS, stores, "00000")
    again = Cutout(fingerprint="cutout-2")
    run_shard(MATTE, again, SETTINGS, stores, "00000")
    assert sorted(again.seen) == list(range(COUNT))


def test_rejected_images_are_carried_on_and_not_computed_again(stores: Stores) -> None:
    read(stores)
    stage = Cutout(rejected=(2,))
    assert rows_of(stores, MATTE, stage)["2.png"].stage_failed == "matted_images"
    again = Cutout(rejected=(2,))
    rows = rows_of(stores, MATTE, again)
    assert again.seen == []
    assert rows["2.png"].status is Status.REJECTED


def test_a_source_that_comes_back_costs_nothing_unless_it_is_another(stores: Stores) -> None:
    read(stores)
    before = rows_of(stores, MATTE, Cutout(rejected=(2,)))
    data = {key: stores.source.read(key) for key in ("2.png", "3.png", "4.png")}
    for key in data:
        stores.source.delete(key)
    for _ in range(2):  # away for longer than one run
        replan(stores)
        read(stores)
        away = rows_of(stores, MATTE, Cutout(rejected=(2,)))
    for key in data:
        assert away[key].status is Status.SKIPPED
        assert (away[key].stage_hash, away[key].output_sha256) == (
            before[key].stage_hash,
            before[key].output_sha256,
        )
        assert (away[key].files, away[key].metrics) == ({}, {})
    for key in data:
        stores.source.write(key, flat(40) if key == "4.png" else data[key])
    replan(stores)
    assert run_shard(READ, ReadStage(SETTINGS.limits), SETTINGS, stores, "00000").computed == 1
    back = Cutout(rejected=(2,))
    after = rows_of(stores, MATTE, back)
    assert back.seen == [40]
    assert {key: after[key] for key in ("2.png", "3.png")} == {key: before[key] for key in ("2.png", "3.png")}
    assert after["4.png"].status is Status.OK


def test_a_source_whose_outputs_went_while_it_was_away_is_made_again(stores: Stores) -> None:
    read(stores)
    key = rows_of(stores, MATTE, Cutout())["3.png"].output_key
    data = stores.source.read("3.png")
    stores.source.delete("3.png")
    replan(stores)
    read(stores)
    rows_of(stores, MATTE, Cutout())
    stores.output.delete(key)
    stores.source.write("3.png", data)
    replan(stores)
    read(stores)
    back = Cutout()
    assert rows_of(stores, MATTE, back)["3.png"].output_key == key
    assert back.seen == [3]


def touch(store: LocalStore) -> None:
    for path in Path(store.url).iterdir():
        os.utime(path, ns=(1, 10**9))


def copy(store: LocalStore) -> None:
    """Copy all files away and back, as ``cp -r`` does it: with new times."""
    for path in list(Path(store.url).iterdir()):
        data = path.read_bytes()
        path.unlink()
        path.write_bytes(data)


def upload_in_parts(store: S3Store) -> None:
    """Upload all objects again in one part each: S3's etag is then no digest of the bytes."""
    bucket, client = store.url.removeprefix("s3://"), store._client
    for found in list(store.list()):
        place = {"Bucket": bucket, "Key": found.key}
        upload = place | {"UploadId": client.create_multipart_upload(**place)["UploadId"]}
        part = client.upload_part(**upload, PartNumber=1, Body=store.read(found.key))
        parts = [{"PartNumber": 1, "ETag": part["ETag"]}]
        client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})


@pytest.mark.parametrize("again", [touch, copy, upload_in_parts])
def test_equal_bytes_under_another_etag_are_read_and_no_more(
    again: Callable[[Any], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    source: Any = LocalStore(tmp_path)
    if again is upload_in_parts:
        settings = request.getfixturevalue("s3")
        source = S3Store(request.getfixturevalue("bucket"), "", s3_client(settings))
    stores = Stores(source, MemoryStore("output"))
    for level in range(COUNT):
        stores.source.write(f"{level}.png", flat(level))
    replan(stores)
    read(stores)
    before = rows_of(stores, MATTE, Cutout(rejected=(1,)))
    monkeypatch.setattr(ReadStage, "run", lambda *_: pytest.fail("decoded again"))
    etags = {found.key: found.etag for found in source.list()}
    again(source)
    assert all(found.etag != etags[found.key] for found in source.list())
    replan(stores)
    seen = run_shard(READ, ReadStage(SETTINGS.limits), SETTINGS, stores, "00000")
    assert (seen.computed, seen.counts["ok"]) == (COUNT, COUNT)
    etags = {found.key: found.etag for found in source.list()}
    assert {row.source_key: row.etag for row in seen.rows} == etags
    stage = Cutout(rejected=(1,))
    after = rows_of(stores, MATTE, stage)
    assert stage.seen == []
    assert {row.source_key: row.etag for row in after.values()} == etags
    assert {key: replace(row, etag="") for key, row in after.items()} == {
        key: replace(row, etag="") for key, row in before.items()
    }


def test_a_source_swapped_after_planning_is_an_error_row_not_a_wrong_picture(stores: Stores) -> None:
    stores.source.write("1.png", flat(99), overwrite=True)
    result = run_shard(READ, ReadStage(SETTINGS.limits), SETTINGS, stores, "00000")
    (row,) = [row for row in result.rows if row.status is Status.ERROR]
    assert (row.source_key, row.error_class) == ("1.png", "ObjectChanged")


def test_an_output_of_another_size_is_made_again(stores: Stores) -> None:
    read(stores)
    row = rows_of(stores, MATTE, Cutout())["5.png"]
    stores.output.write(row.output_key, b"cut short", overwrite=True)
    again = Cutout()
    assert rows_of(stores, MATTE, again)["5.png"].output_sha256 == row.output_sha256
    assert again.seen == [5]


def test_an_emptied_file_beside_another_is_lost(stores: Stores) -> None:
    read(stores)
    row = rows_of(stores, MATTE, Cutout())["5.png"]
    folder = f"{keys.image_prefix('quality', 'art', '00000')}{row.image_id}"
    files = {"quality": f"{folder}/quality.json", "diff": f"{folder}/diff.png"}
    for key in files.values():
        stores.output.write(key, b"written")
    row = replace(row, output_key=files["quality"], size_bytes=7, details={"files": files})
    write_table(stores.output, SCORE.asset, "art", "00000", [row], meta={})
    assert lost_outputs(stores.output, SCORE, "art", "00000") == []
    stores.output.write(files["diff"], b"", overwrite=True)
    assert lost_outputs(stores.output, SCORE, "art", "00000") == [files["diff"]]


def test_no_table_is_written_after_another_process_took_over(stores: Stores) -> None:
    read(stores)

    left = len(read_manifest(stores.output, "art", "00000").entries)

    def lose_at_the_last(*_: object) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            (held,) = lease._held.values()
            held._lost = True

    with pytest.raises(LeaseLost, match="another took over"):
        run_shard(MATTE, Cutout(), SETTINGS, stores, "00000", on_row=lose_at_the_last)
    assert not stores.output.exists(keys.table_key(MATTE.asset, "art", "00000"))


def test_roles_follow_the_chain() -> None:
    assert dict(MATTE.roles) == {"source": RAW}
    assert dict(SCORE.roles) == {
        "reference": RAW,
        "result": "matted_images",
        "matte_source": RAW,
        "cutout": "matted_images",
    }
    both = steps(Settings(actions=("rembg", "upscale")))[-1]
    assert dict(both.roles)["reference"] == "matted_images"
    turned = steps(Settings(actions=("upscale", "rembg")))[-1]
    assert (dict(turned.roles)["reference"], dict(turned.roles)["matte_source"]) == (RAW, "upscaled_images")


def test_a_source_that_changed_under_its_etag_is_read_again(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy with the old time and size, but other bytes: the next stage finds it, the next run reads it."""
    read(stores)
    etags = {found.key: found for found in stores.source.list()}
    original = stores.source.read
    stores.source.write("3.png", flat(33), overwrite=True)
    monkeypatch.setattr(stores.source, "list", lambda *_, **__: iter(etags.values()))
    monkeypatch.setattr(stores.source, "read", lambda key, **_: original(key))
    replan(stores)
    outcomes = []
    for _ in range(2):
        read(stores)
        matted = rows_of(stores, MATTE, Cutout())["3.png"]
        run_shard(SCORE, Scoring(), SETTINGS, stores, "00000")
        outcomes.append((matted.status, matted.error_class))
    assert outcomes == [(Status.ERROR, "ObjectChanged"), (Status.OK, "")]


@pytest.mark.parametrize("data", [b"", b"PAR1 cut off"])
def test_damaged_tables_and_journals_are_made_again(
    stores: Stores, caplog: pytest.LogCaptureFixture, data: bytes
) -> None:
    read(stores)
    before = rows_of(stores, MATTE, Cutout())
    for asset in ("matted_images", "unfinished_matted_images"):
        stores.output.write(keys.table_key(asset, "art", "00000"), data, overwrite=True)
    again = Cutout()
    after = rows_of(stores, MATTE, again)
    assert sorted(again.seen) == list(range(COUNT))
    assert {row.output_sha256 for row in after.values()} == {row.output_sha256 for row in before.values()}
    assert "made again" in caplog.text


@dataclass
class Scoring(Cutout):
    """Gives every picture a score."""

    def run(self, inputs: Mapping[str, Image], rows: Mapping[str, ImageRow]) -> StageResult:
        return StageResult({"quality.json": b"{}"}, main_image=inputs["result"], main_format="JSON")


def test_a_new_version_of_a_decoder_reads_its_format_and_redoes_what_looks_different(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    for level in (2, 4):
        picture = Image(np.full((5, 4, 3), level, np.uint8))
        stores.source.write(f"{level}.png", encode(picture, format="WEBP"), overwrite=True)
    replan(stores)

    def computed(step: Step, stage: Stage) -> list[str]:
        rows: list[str] = []
        run_shard(
            *(step, stage, SETTINGS, stores, "00000"),
            on_row=lambda asset, shard, row, now: rows.append(row.source_key) if now else None,
        )
        return sorted(rows)

    reading, matting = ReadStage(SETTINGS.limits), Cutout()
    assert len(computed(READ, reading)) == len(computed(MATTE, matting)) == COUNT
    before, decode_webp = reading.fingerprint, decode._decode_webp

    def differently(*arguments: Any) -> Any:
        pixels = decode_webp(*arguments)
        return pixels + 1 if pixels[0, 0, 0] == 4 else pixels

    KEPT.shrink(0)  # Another version comes with another process.
    monkeypatch.setitem(DECODER_VERSIONS, "WEBP", 2)
    monkeypatch.setattr(decode, "_decode_webp", differently)
    assert reading.fingerprint != before  # The shard is due.
    assert computed(READ, reading) == ["2.png", "4.png"]
    assert computed(MATTE, matting) == ["4.png"]
    assert computed(READ, reading) == computed(MATTE, matting) == []


def test_results_from_before_pictures_had_digests_stand_where_the_decoder_is_the_same(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores.source.write(
        "2.png", encode(Image(np.full((5, 4, 3), 2, np.uint8)), format="WEBP"), overwrite=True
    )
    replan(stores)

    def made_by(code_version: int) -> list[int]:
        monkeypatch.setattr("imgpipe.stages.read.CODE_VERSION", code_version)
        read(stores)
        matting = Cutout()
        rows_of(stores, MATTE, matting)
        return sorted(matting.seen)

    with monkeypatch.context() as earlier:
        earlier.setattr("imgpipe.stages.read._digest", lambda image: None)
        assert made_by(100) == list(range(COUNT))
    assert made_by(101) == []
    monkeypatch.setitem(DECODER_VERSIONS, "WEBP", 2)
    assert made_by(102) == [2]
    assert made_by(102) == []


def test_what_changes_for_profiles_alone_is_made_again_for_them_alone(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    tagged = Image(np.full((5, 4, 3), 2, np.uint8), icc=sources.display_p3())
    stores.source.write("2.png", encode(tagged), overwrite=True)
    replan(stores)
    read(stores)
    rows_of(stores, MATTE, Cutout())
    monkeypatch.setattr("imgpipe.engines.due.PROFILE_VERSION", 99)
    again = Cutout()
    rows_of(stores, MATTE, again)
    assert again.seen == [2]
