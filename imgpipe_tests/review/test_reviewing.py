"""The reviewer's place in a run: rows, quality.json, checks, queue, report, cache and start."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from dagster import AssetCheckSeverity
from typer.testing import CliRunner, Result

from imgpipe.assets.images import uses_gpu
from imgpipe.cli import app
from imgpipe.errors import ConfigError, PackagesMissing
from imgpipe.jobs.book import open_book
from imgpipe.jobs.request import job_settings, order
from imgpipe.records import Status
from imgpipe.review.build import require_reviewer
from imgpipe.review.queue import read_queue
from imgpipe.review.reviewers import review_of
from imgpipe.settings import ReviewSettings
from imgpipe.stages.chain import steps
from imgpipe.storage import keys
from imgpipe_tests.assets.test_run import execute, metadata
from imgpipe_tests.end_to_end.conftest import write_drawing
from imgpipe_tests.jobs.pictures import drawing
from imgpipe_tests.review.messages_api import KEY, MessagesApi, Reply, failure, message, verdict
from imgpipe_tests.review.space import QUICK, Space

ASSETS = ["raw_images", "upscaled_images", "quality_reports"]
FAULT = {"kind": "text_artifact", "description": "garbled <b>letters</b>", "box": None}
BAD = verdict("fail", [FAULT], reason="Garbled <b>letters</b> at the top.")


@pytest.fixture
def space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Space:
    """Three drawings in two shards, enlarged twice."""
    monkeypatch.chdir(tmp_path)
    for number in range(3):
        write_drawing(tmp_path / "raw", f"{number}.png", seed=number)
    options = {"actions": ["upscale"], "review.enabled": True, "review.reviewer": "claude"}
    return Space(str(tmp_path / "raw"), str(tmp_path / "results"), options)


def command(space: Space, *words: str, **more: Any) -> Result:
    """``imgpipe`` with the settings of the space."""
    chosen = {**QUICK, **space.options, **more}
    return CliRunner().invoke(app, [*words, *(f"--set={key}={json.dumps(chosen[key])}" for key in chosen)])


def verdicts(space: Space) -> list[str]:
    return [review.verdict if (review := review_of(row)) else "none" for row in space.rows().values()]


def test_verdicts_are_asked_for_once(space: Space, api: MessagesApi) -> None:
    """Not when the scores are made again, but for another model; nothing else is redone."""
    space.run(**{"review.enabled": False})
    assert verdicts(space) == ["none"] * 3
    assert "machine_review" not in space.document("0.png")
    assert space.run() == 2
    assert (space.computed, len(api.requests)) == ([], 3)
    assert space.document("0.png")["machine_review"]["verdict"] == "pass"
    assert space.run() == 0
    for shard in ("00000", "00001"):
        space.stores.output.delete(keys.table_key("quality_reports", "art", shard))
    damaged = next(iter(space.stores.output.list("verdicts/"))).key
    space.stores.output.write(damaged, b'{"verdict": "pass"}', overwrite=True)
    assert space.run() == 2
    assert (len(space.computed), len(api.requests), verdicts(space)) == (3, 4, ["pass"] * 3)
    space.run(**{"review.model": "claude-sonnet-5-5"})
    assert len(api.requests) == 7
    space.run(**{"review.enabled": False})
    assert verdicts(space) == ["none"] * 3


def test_what_stays_unreviewed_is_asked_for_again_and_refusals_are_not(
    space: Space, api: MessagesApi
) -> None:
    space.options |= {"shard_size": 3, "review.concurrency": 1, "review.retries": 0}
    api.replies(verdict(), message("", "refusal"), failure(529, "overloaded_error"))
    space.run()
    assert sorted(verdicts(space)) == ["pass", "unreviewed", "unreviewed"]
    assert {row.status for row in space.rows().values()} == {Status.OK}
    warned = [row.reasons[-1] for row in space.rows().values() if row.reasons]
    assert all(text.startswith("warning: not reviewed: ") for text in warned)
    api.replies(BAD)
    assert space.run() == 1
    assert (sorted(verdicts(space)), len(api.requests)) == (["fail", "pass", "unreviewed"], 4)
    assert space.run() == 0


def test_requests_at_the_same_time_are_bounded(space: Space, api: MessagesApi) -> None:
    api.answer = lambda number: Reply(body=verdict().body, seconds=0.05)
    space.run(**{"shard_size": 3, "review.concurrency": 2})
    assert (len(api.requests), api.most) == (3, 2)


def test_a_rejected_image_is_not_sent(space: Space, api: MessagesApi) -> None:
    space.run(**{"quality.thresholds": {"psnr_y_min_db": 90}})
    assert (api.requests, verdicts(space)) == ([], ["none"] * 3)


def test_own_checks_as_reviewer(space: Space) -> None:
    space.options["review.reviewer"] = "checks"
    space.run(**{"quality.thresholds": {"psnr_y_min_db": 90}, "quality.severity": {"ssim": "warn"}})
    assert verdicts(space) == ["fail"] * 3
    found = space.document("0.png")
    assert found["machine_review"]["reason"] == found["reasons"][0]
    assert found["machine_review"]["issues"][0]["kind"] == "psnr_y_min_db"
    assert all(row.status is Status.REJECTED and len(row.reasons) == 1 for row in space.rows().values())
    space.run()
    assert verdicts(space) == ["pass"] * 3


def test_a_run_with_one_failing_picture(space: Space, api: MessagesApi) -> None:
    """Through Dagster: queue, failed check and report; then a person accepts it."""
    space.options |= {"shard_size": 3, "review.concurrency": 1}
    api.replies(verdict(), BAD, verdict())
    space.run(**{"review.enabled": False})
    settings, output = space.settings(), space.stores.output
    assert not any(uses_gpu(step, settings) for step in steps(settings) if step.asset == ASSETS[-1])
    shard, report = execute(settings)
    checks = {one.check_name: one for one in shard.get_asset_check_evaluations()}
    assert (checks["review"].passed, checks["review"].severity) == (False, AssetCheckSeverity.ERROR)
    assert checks["review"].description == "1 failed, 2 passed, 0 unreviewed"
    assert not checks["none_waiting"].passed
    quality = metadata(shard, "quality_reports")
    counts = [quality[f"review_{name}"] for name in ("pass", "fail", "unreviewed")]
    assert (counts, quality["review_cost_usd"]) == ([2, 1, 0], pytest.approx(3 * 0.0004))
    (item,) = read_queue(output, "art", ASSETS)
    assert (item.asset, item.reasons[0]) == ("quality_reports", "failed in review by claude")
    row = space.rows()[item.final.source_key]
    assert space.document(row.source_key)["status"] == "rejected"
    assert output.exists(f"rejected/upscaled/art/00000/{row.image_id}.png")
    page = output.read(keys.report_key("art", "index.html")).decode()
    assert "failed in review by claude" in page
    assert "<b>letters</b>" not in page
    assert metadata(report, "review_queue")["waiting"] == 1

    assert command(space, "review", "accept", row.image_id, "--output", space.output).exit_code == 0
    again, _ = execute(settings)
    checks = {one.check_name: one for one in again.get_asset_check_evaluations()}
    assert (checks["review"].passed, len(api.requests)) == (True, 3)
    assert (space.rows()[row.source_key].status, verdicts(space).count("fail")) == (Status.OK, 1)
    assert all(KEY.encode() not in output.read(one.key) for one in output.list(""))


def test_unreviewed_images_are_a_warning(space: Space, api: MessagesApi) -> None:
    space.options |= {"shard_size": 3, "review.max_images": 1}
    space.run(**{"review.enabled": False})
    shard, _ = execute(space.settings())
    check = next(one for one in shard.get_asset_check_evaluations() if one.check_name == "review")
    assert (check.passed, check.severity) == (False, AssetCheckSeverity.WARN)
    assert check.description == "0 failed, 1 passed, 2 unreviewed"
    page = space.stores.output.read(keys.report_key("art", "index.html")).decode()
    assert "not reviewed" in page


def test_one_picture(space: Space, api: MessagesApi, tmp_path: Path) -> None:
    api.replies(BAD)
    done = command(space, "image", "raw/0.png", "0.png", "--report=0.json")
    assert done.exit_code == 1, done.output
    found = json.loads((tmp_path / "0.json").read_text())
    assert (found["status"], found["machine_review"]["issues"]) == ("rejected", [FAULT])


def test_a_job_of_the_server(space: Space, api: MessagesApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reviewed as its operator configured; the operator without a key hears it at the start."""
    settings = space.settings(source="", dataset="dataset")
    book = open_book(settings)
    job = book.add(order(drawing(), job_settings(book.base, ("upscale",), {"scale": 2})))
    book.run(job)
    assert book.answer(job)["quality"]["machine_review"]["verdict"] == "pass"
    with pytest.raises(ConfigError, match="not for a job to set"):
        job_settings(book.base, ("upscale",), {"review.model": "claude-opus-5-5"})
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    with pytest.raises(ConfigError, match="ANTHROPIC_API_KEY"):
        open_book(settings)


def test_a_missing_key_or_package_is_told_before_any_work(
    space: Space, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    done = command(space, "run", "--source", space.source, "--output", space.output)
    assert (done.exit_code, (tmp_path / "results").exists()) == (2, False)
    assert "ANTHROPIC_API_KEY" in done.output
    with pytest.raises(ConfigError, match="ANTHROPIC_API_KEY"):
        space.run()
    settings = ReviewSettings(enabled=True, reviewer="claude")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "two\nlines")
    with pytest.raises(ConfigError, match="no key") as told:
        require_reviewer(settings)
    assert "lines" not in str(told.value)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(PackagesMissing, match=r"imgpipe\[review\]"):
        require_reviewer(settings)
