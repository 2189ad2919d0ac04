"""Jobs in a store: what is left by processes that ended, beside other processes, and by deletions."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from imgpipe.config import changed_settings, load_settings
from imgpipe.engines.shard import run_shard
from imgpipe.errors import DeviceFault, LeaseHeld, ModelError, ObjectMissing
from imgpipe.jobs.book import JobBook, open_book
from imgpipe.jobs.job import DATASET, Job
from imgpipe.jobs.request import job_settings, order
from imgpipe.processes import Process
from imgpipe.records import Status
from imgpipe.review.own_checks import ChecksReviewer
from imgpipe.review.reviewers import Review
from imgpipe.stages.build import build_stage
from imgpipe.stages.catalogue import QUALITY, RAW, UPSCALED
from imgpipe.stages.chain import steps
from imgpipe.stages.upscale import UpscaleStage
from imgpipe.storage import keys
from imgpipe.storage.lease import _now
from imgpipe_tests.command_line import imgpipe
from imgpipe_tests.jobs.pictures import CLASSICAL, drawing


@pytest.fixture
def book(tmp_path: Path) -> JobBook:
    return open_book(load_settings({"output": str(tmp_path / "out"), **CLASSICAL}))


def added(book: JobBook, **config: Any) -> Job:
    return book.add(order(drawing(), job_settings(book.base, ("upscale",), {"scale": 2, **config})))


def test_a_job_is_a_shard_that_the_other_commands_read(book: JobBook, tmp_path: Path) -> None:
    job = added(book)
    book.run(job)
    place = ("--output", str(tmp_path / "out"), "--dataset", DATASET)
    _, listed = imgpipe("files", *place[:2], job.entry.image_id)
    assert [line.split()[0] for line in listed.splitlines()] == [file.kind for file in book.files(job)]
    sources = ("--source", str(tmp_path / "out" / "uploads" / DATASET), "--set", "actions=[upscale]")
    assert "1 image: 1 ok" in imgpipe("status", *place, *sources)[1]
    code, queue = imgpipe("review", "list", *place)
    assert code == 0, queue


def test_numbers_that_another_process_took_are_left_out(book: JobBook) -> None:
    other = JobBook(book.stores, book.base)
    jobs = [added(book), added(other), added(book), added(other)]
    assert [job.shard for job in jobs] == ["00000", "00001", "00002", "00003"]
    assert book.newest(2) == [jobs[3], jobs[2]]
    with pytest.raises(ObjectMissing, match="no such job"):
        book.find(jobs[0].id[:-1] + "x")


def test_what_another_process_computes_is_left_to_it_and_a_result_is_kept(book: JobBook) -> None:
    job = added(book)
    there = replace(Process.current(), host="elsewhere").text()
    lease = {"process": there, "token": "theirs", "since": _now(), "renewed": _now()}
    key = keys.lease_key(DATASET, job.shard, 1)
    book.stores.output.write(key, json.dumps(lease).encode())
    assert book.state(job) == "running"
    with pytest.raises(LeaseHeld):
        book.run(job)
    book.stores.output.delete(key)
    heard = []
    for _ in range(2):
        book.run(job, lambda asset, shard, row, computed: heard.append(asset))
    assert heard == [RAW, UPSCALED, QUALITY]


def test_a_picture_that_ends_the_process_is_given_up(book: JobBook, monkeypatch: pytest.MonkeyPatch) -> None:
    job = added(book)
    settings = job_settings(book.base, ("upscale",), {"scale": 2})

    class Killed(BaseException):
        """As good as SIGKILL: nothing is written afterwards."""

    def kill(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as dying:
        dying.setattr(UpscaleStage, "run", kill)
        for _ in range(book.base.automation.max_attempts):
            assert [one.id for one in book.unfinished()] == [job.id]
            with pytest.raises(Killed):
                book.run(job, again=True)
    book.run(job, again=True)
    assert "ended 3 times while upscaled_images" in book.answer(job)["error"]
    assert book.unfinished() == []
    assert settings.actions == job.actions


def test_models_that_cannot_be_had_are_refused_or_a_result(
    book: JobBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ModelError, match="weights file"):
        added(book, **{"upscale.model": "realesrgan-anime-6b"})
    assert book.newest(5) == []
    job = added(book, scale=3)

    def broken(*_: object) -> None:
        raise ModelError("no GPU left")

    monkeypatch.setattr(UpscaleStage, "run", broken)
    book.run(job)
    assert "ModelError: no GPU left" in book.answer(job)["error"]


def test_where_the_device_fails_the_job_keeps_its_place(
    book: JobBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = added(book)

    def faulty(*_: object) -> None:
        raise DeviceFault("illegal access")

    with monkeypatch.context() as patched:
        patched.setattr(UpscaleStage, "run", faulty)
        with pytest.raises(DeviceFault):
            book.run(job)
    assert [one.id for one in book.unfinished()] == [job.id]
    book.run(job, again=True)
    assert book.rows(job)[QUALITY].status is Status.OK


def test_while_a_reviewer_is_asked_its_state_says_so(book: JobBook, monkeypatch: pytest.MonkeyPatch) -> None:
    book.base = changed_settings(book.base, {"review": {"enabled": True}})
    job, seen = added(book), list[str]()

    def asked(*_: object) -> Review:
        seen.append(book.state(job))
        return Review(verdict="pass", reason="good", reviewer="checks")

    monkeypatch.setattr(ChecksReviewer, "review", asked)
    book.run(job, lambda asset, *_: seen.append(book.state(job)) if asset == UPSCALED else None)
    assert [*seen, book.state(job)] == ["running", "review", "finished"]


@pytest.mark.parametrize("when", ["before", "during", "after"])
def test_deleted_at_any_time_it_leaves_skipped_rows_and_no_files(
    when: str, book: JobBook, tmp_path: Path
) -> None:
    job = added(book)
    if when == "before":
        book.remove(job)

    def listen(asset: str, *_: object) -> None:
        if (when, asset) == ("during", UPSCALED):
            book.remove(book.find(job.id))
            assert book.stores.source.exists(job.entry.source_key)  # not below the hands of who computes

    book.run(job, listen)
    if when == "after":
        book.remove(job)
    job = book.find(job.id)
    assert {row.status for row in book.rows(job).values()} == {Status.SKIPPED}
    assert (book.state(job), book.files(job), book.unfinished()) == ("deleted", [], [])
    kept = {path.suffix for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert kept == {".parquet", ".json"}
    assert not list((tmp_path / "out" / "uploads").rglob("picture*"))


def test_rows_are_those_of_the_engine(book: JobBook) -> None:
    """A stage run on the job's shard once more finds nothing to do."""
    job = added(book)
    book.run(job)
    settings = job_settings(book.base, ("upscale",), {"scale": 2})
    for step in steps(settings):
        again = run_shard(step, build_stage(step, settings), settings, book.stores, job.shard)
        assert (again.computed, again.kept) == (0, 1)
