"""``imgpipe run`` as its users type it: places without options, a dry run, a result for programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from imgpipe.cli import app
from imgpipe_tests.cli.kept_output import assert_as_kept
from imgpipe_tests.end_to_end.conftest import write_drawing

LANCZOS = ("--actions", "upscale", "--model", "lanczos", "--scale", "2")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["run", *arguments], env={"COLUMNS": "80"}, catch_exceptions=False)


def test_status_says_unknown_where_it_could_not_compare(tmp_path: Path, instance_home: Path) -> None:
    write_drawing(tmp_path / "in", "a.png", seed=1)
    place = (str(tmp_path / "in"), str(tmp_path / "out"))
    done = run(*place, *LANCZOS)
    assert done.exit_code == 0
    known = {tmp_path / "in": "IN", tmp_path / "out": "OUT", instance_home: "HOME"}
    assert_as_kept("run", done.output, known)
    none = ("--actions", "upscale", "--set", f"model_dir={tmp_path}")
    for options, state in ((LANCZOS, "complete"), (none, "unknown")):
        said = (
            CliRunner()
            .invoke(app, ["status", *place, *options], env={"COLUMNS": "80"}, catch_exceptions=False)
            .output
        )
        if state == "complete":
            assert_as_kept("status", said, known)
        (line,) = (line for line in said.splitlines() if line.split()[:1] == ["00000"])
        assert line.split()[-1] == state, said


def _status_of(place: tuple[str, str]) -> None:
    """Two good images and a broken one."""

    def status(*arguments: str) -> str:
        quick = ("--set", "cost.price_per_hour=3600", *LANCZOS, *arguments)
        return CliRunner().invoke(app, ["status", *place, *quick], catch_exceptions=False).stdout

    found = json.loads(status("--json"))
    assert (found["compared"], found["exit_code"], found["counts"]["ok"]) == (True, 1, 2)
    (shard,) = found["shards"]
    assert (shard["shard"], shard["state"], shard["images"]) == ("00000", "failed", 3)
    assert (found["left"]["shards"], found["left"]["images"]) == (1, 1)
    assert found["left"]["cost"] == pytest.approx(found["left"]["seconds"], abs=0.01)
    assert "to do: 1 shard with 1 image; time left on this machine: about" in status()
    assert status("--state", "ok").splitlines() == ["a.png", "猫 の/b.png"]
    assert [one["source"] for one in json.loads(status("--state", "error", "--json"))] == ["broken.png"]
    assert status("--state", "review").startswith("broken.png: ")
    assert status("--state", "pending") == ""


def test_a_dry_run_writes_nothing_and_a_result_is_json(tmp_path: Path, instance_home: Path) -> None:
    for name in ("a.png", "猫 の/b.png"):
        write_drawing(tmp_path / "my art", name, seed=1)
    (tmp_path / "my art" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    place = (str(tmp_path / "my art"), str(tmp_path / "out"))
    dry = run(*place, *LANCZOS, "--dry-run")
    assert (dry.exit_code, dry.output.splitlines()) == (
        0,
        [
            "plan: 3 new, 0 changed, 0 returned, 0 deleted, 0 unchanged images in 1 shard",
            "1 of 1 shard to do; nothing was written (--dry-run)",
        ],
    )
    some = run(*place, *LANCZOS, "--dry-run", "--limit", "1").output
    assert "plan: 1 new," in some
    assert "left out: images beyond the limit of 1 (2): broken.png, 猫 の/b.png" in some
    assert not (tmp_path / "out").exists()
    assert not instance_home.exists()

    done = run(*place, *LANCZOS, "--json")
    result = json.loads(done.stdout)
    assert (done.exit_code, result["exit_code"]) == (1, 1)
    assert result["counts"] == {"n": 3, "ok": 2, "rejected": 0, "error": 1, "skipped": 0}
    assert (result["dataset"], result["output"]) == ("my_art", str(tmp_path / "out"))
    assert Path(result["report"]).is_file()
    assert {(one["asset"], one["check"], one["partition"]) for one in result["failed_checks"]} == {
        ("quality_reports", "no_errors", "my_art-00000")
    }
    assert "3 images: 2 ok" in done.stderr
    _status_of(place)

    write_drawing(tmp_path / "my art", "c.png", seed=3)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    dry = run(*place, *LANCZOS, "--dry-run")
    assert dry.output.splitlines()[-2:] == [
        "plan: 1 new, 0 changed, 0 returned, 0 deleted, 3 unchanged images in 2 shards",
        "2 of 2 shards to do; nothing was written (--dry-run)",
    ]
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == before
