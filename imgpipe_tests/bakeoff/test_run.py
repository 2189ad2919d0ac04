"""How a candidate's process is followed, with small programs in its place."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from imgpipe.bakeoff.candidates import candidates_of
from imgpipe.bakeoff.run import Input, Run, run_candidate
from imgpipe.config import Settings

ANSWER = "print(json.dumps({'status': 'ok', 'why': p['name']}), flush=True)"


def _run(tmp_path: Path, *lines: str, settings: Settings | None = None) -> Run:
    (candidate,) = candidates_of(("lanczos",), "upscale", settings or Settings())
    pictures = [Input(name, tmp_path / name) for name in ("a", "b", "c")]
    program = "\n".join(
        (
            "import json, os, signal, sys, pathlib",
            "job = json.load(sys.stdin)",
            "pictures = job['pictures']",
            *lines,
        )
    )
    return run_candidate(candidate, pictures, tmp_path, command=(sys.executable, "-c", program))


LOADED = "print(json.dumps({'load_seconds': 1.5}), flush=True)"


def test_answers_come_in_the_pictures_order_with_their_result_files(tmp_path: Path) -> None:
    written = "p['name'] == 'b' and pathlib.Path(p['result']).write_bytes(b'x')"
    run = _run(tmp_path, LOADED, "for p in pictures:", f"  {written}; {ANSWER}")
    assert (run.load_seconds, run.failed) == (1.5, "")
    assert [answer["why"] for answer in run.answers] == ["a", "b", "c"]
    assert [answer["result"] and answer["result"].read_bytes() for answer in run.answers] == [
        None,
        b"x",
        None,
    ]


@pytest.mark.parametrize(
    ("end", "said"),
    [("os.kill(os.getpid(), 9)", "SIGKILL; it may have needed more memory"), ("os._exit(7)", "code 7")],
)
def test_a_picture_that_ends_the_process_costs_that_picture(tmp_path: Path, end: str, said: str) -> None:
    run = _run(tmp_path, LOADED, "for p in pictures:", f"  p['name'] == 'b' and {end}", f"  {ANSWER}")
    assert [answer["status"] for answer in run.answers] == ["ok", "error", "ok"]
    assert said in run.answers[1]["why"]
    assert run.answers[2]["why"] == "c"


def test_a_model_that_cannot_be_loaded_is_the_reason_of_every_picture(tmp_path: Path) -> None:
    run = _run(tmp_path, "print(json.dumps({'failed': 'ModelMismatch: no'}))")
    assert run.failed == "ModelMismatch: no"
    assert [answer["why"] for answer in run.answers] == ["ModelMismatch: no"] * 3
    crashed = _run(tmp_path, "os._exit(3)")
    assert crashed.failed == "its process ended with code 3; its messages are above"
    assert len(crashed.answers) == 3


def test_what_opens_the_store_stays_with_its_owner(tmp_path: Path) -> None:
    given = Settings(s3={"endpoint_url": "http://127.0.0.1:9"})
    told = "  p['name'] = str(job['settings']['s3']['endpoint_url'])"
    run = _run(tmp_path, LOADED, "for p in pictures:", told, f"  {ANSWER}", settings=given)
    assert run.answers[0]["why"] == "None"
