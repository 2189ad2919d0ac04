"""Review from the command line: decide, run again, and only the decided images are redone."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from imgpipe.cli import app
from imgpipe.images import isolation
from imgpipe.images.decode import decode
from imgpipe.images.encode import encode
from imgpipe.images.image import Image
from imgpipe.images.isolation import process
from imgpipe.records import Status
from imgpipe.settings import LimitSettings
from imgpipe.storage.source_record import record_source
from imgpipe_tests.command_line import imgpipe
from imgpipe_tests.end_to_end.conftest import flat_drawing, write_drawing
from imgpipe_tests.images.isolation.test_isolation import MISBEHAVING
from imgpipe_tests.review.space import QUICK, Space

#: No enlargement of a drawing reads 90 dB: every image is rejected by its score.
STRICT = {"quality.thresholds": {"psnr_y_min_db": 90}}
BY = ("--set", "review.user=ann")


@pytest.fixture
def space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Space:
    """Source and output as folders, the working directory empty."""
    (tmp_path / "source").mkdir()
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    return Space(str(tmp_path / "source"), str(tmp_path / "output"))


def review(space: Space, command: str, *arguments: str) -> tuple[int, str]:
    """Exit code and everything printed by ``imgpipe review``."""
    place = ("--output", space.output, "--dataset", "art")
    return imgpipe("review", command, *place, *arguments, columns=300)


def listed(space: Space, *arguments: str) -> dict[str, dict[str, Any]]:
    code, text = review(space, "list", "--json", *arguments)
    assert code == 0, text
    return {item["source_key"]: item for item in json.loads(text)}


def image_id(space: Space, key: str) -> str:
    return space.rows("raw_images")[key].image_id


def stored(space: Space, key: str) -> Image:
    data = space.stores.output.read(key)
    return decode(data, name=key, limits=LimitSettings().for_own_files())


@pytest.fixture
def rejected(space: Space) -> Space:
    """Three images in two shards, all rejected by the score."""
    for number in range(3):
        write_drawing(space.source, f"{number}.png", seed=number)
    space.run(**STRICT)
    return space


def accept_first(space: Space) -> None:
    code, text = review(space, "accept", image_id(space, "0.png"), "--note", "meant so", *BY)
    assert code == 0, text
    space.run(**STRICT)


def test_the_list_names_image_stage_and_reason(rejected: Space) -> None:
    found = listed(rejected)
    assert set(found) == {"0.png", "1.png", "2.png"}
    assert {item["asset"] for item in found.values()} == {"quality_reports"}
    assert {item["state"] for item in found.values()} == {"waiting"}
    assert all("at least 90.0 needed" in " ".join(item["reasons"]) for item in found.values())
    assert listed(rejected, "--reason", "no such reason") == {}
    assert listed(rejected, "--status", "error") == {}
    assert set(listed(rejected, "--reason", "PSNR")) == set(found)
    _, text = review(rejected, "list")
    assert "3 waiting, 0 decided" in text
    (line,) = (line for line in text.splitlines() if " 0.png " in line)
    assert line.split()[:2] == ["0.png", "rejected"]
    assert found["0.png"]["image_id"] not in text


def test_an_image_is_named_by_its_path(rejected: Space) -> None:
    record_source(rejected.stores.output, "art", rejected.source)
    code, text = review(
        rejected, "reject", "0.png", f"{rejected.source}/1.png", image_id(rejected, "0.png"), *BY
    )
    first, second, then = text.splitlines()
    assert re.fullmatch(r"0\.png: rejected by ann on [\d-]{10} \(quality_reports\)", first)
    assert (code, second) == (0, first.replace("0.png", "1.png"))
    assert then == "takes effect with the next `imgpipe run`, for these images only"
    assert {key: item["state"] for key, item in listed(rejected).items()} == {
        "0.png": "pending",
        "1.png": "pending",
        "2.png": "waiting",
    }


def test_accepting_computes_nothing_and_survives_every_later_run(rejected: Space) -> None:
    before = rejected.rows("upscaled_images")
    accept_first(rejected)
    assert rejected.computed == []
    after = rejected.rows("upscaled_images")
    place = before["0.png"].output_key.removeprefix("rejected/")
    moved = replace(
        before["0.png"], output_key=place, details={**before["0.png"].details, "files": {"upscaled": place}}
    )
    assert after == before | {"0.png": moved}
    row = rejected.rows()["0.png"]
    assert (row.status, row.stage_failed) == (Status.OK, "")
    assert "at least 90.0 needed" in " ".join(row.reasons)
    assert {name: row.details["review"][name] for name in ("verdict", "by", "note")} == {
        "verdict": "accepted",
        "by": "ann",
        "note": "meant so",
    }
    verdict = rejected.document("0.png")
    assert (verdict["status"], verdict["review"]["by"]) == ("ok", "ann")
    assert verdict["review"]["before"]["status"] == "rejected"
    assert set(listed(rejected)) == {"1.png", "2.png"}
    assert rejected.run(**STRICT) == 0
    write_drawing(rejected.source, "1.png", seed=41)  # The same shard is run again for its neighbour.
    rejected.run(**STRICT)
    assert {key for _, key in rejected.computed} == {"1.png"}
    assert rejected.rows()["0.png"] == row


def test_other_thresholds_judge_the_same_bytes_and_the_decision_holds(rejected: Space) -> None:
    accept_first(rejected)
    rejected.run(**{"quality.thresholds": {"psnr_y_min_db": 91}})
    assert {asset for asset, _ in rejected.computed} == {"quality_reports"}
    row = rejected.rows()["0.png"]
    assert row.status is Status.OK
    assert "at least 91.0 needed" in " ".join(row.reasons)


def test_other_bytes_are_looked_at_again_and_the_old_ones_are_not_forgotten(rejected: Space) -> None:
    accept_first(rejected)
    larger = {**STRICT, "upscale.scale": 3}
    rejected.run(**larger)
    assert rejected.rows()["0.png"].status is Status.REJECTED
    assert "review" not in rejected.document("0.png")
    found = listed(rejected, "--set", "upscale.scale=3")
    assert {key: item["outdated"] for key, item in found.items()} == {
        "0.png": True,
        "1.png": False,
        "2.png": False,
    }
    assert "has changed since it was accepted by ann" in review(rejected, "list")[1]
    rejected.run(**STRICT)
    assert rejected.rows()["0.png"].status is Status.OK


def test_a_good_image_can_be_rejected_and_taken_back(space: Space) -> None:
    write_drawing(space.source, "0.png", seed=0)
    space.run()
    good, name = space.rows()["0.png"], image_id(space, "0.png")
    assert review(space, "reject", name, "--note", "six fingers", *BY)[0] == 0
    assert "0 waiting, 1 decided" in review(space, "list")[1]
    space.run()
    row = space.rows()["0.png"]
    assert (row.status, row.stage_failed) == (Status.REJECTED, "quality_reports")
    assert row.reasons[-1].endswith("six fingers")
    assert listed(space) == {}
    assert listed(space, "--all")["0.png"]["state"] == "decided"
    assert review(space, "withdraw", name, *BY)[0] == 0
    space.run()
    after = space.rows()["0.png"]
    assert (after.status, after.reasons, after.details) == (good.status, good.reasons, good.details)
    assert after.output_sha256 == good.output_sha256
    assert space.computed == []
    history = [one["verdict"] for one in listed(space, "--all")["0.png"]["history"]]
    assert history == ["rejected", "withdrawn"]


@pytest.mark.parametrize("place", ["folder", "s3"])
def test_a_replaced_picture_is_used_and_only_what_follows_it_runs(
    place: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    source = tmp_path / "source"
    output = str(tmp_path / "output")
    if place == "s3":
        output = f"{request.getfixturevalue('s3_url')}/results"
    space = Space(str(source), output)
    for number in range(2):
        write_drawing(source, f"{number}.png", seed=number)
    space.run()
    others = {asset: space.rows(asset)["1.png"] for asset in ("upscaled_images", "quality_reports")}
    made = space.rows("upscaled_images")["0.png"]
    fixed = stored(space, made.output_key)
    fixed.pixels[100:110, 120:130, 0] ^= 1
    file = tmp_path / "fixed.webp"
    file.write_bytes(encode(fixed, format="WEBP"))

    code, text = review(space, "replace", image_id(space, "0.png"), str(file), *BY)
    assert code == 0, text
    assert not np.array_equal(stored(space, made.output_key).pixels, fixed.pixels)
    space.run()
    assert sorted(space.computed) == [("quality_reports", "0.png"), ("upscaled_images", "0.png")]
    row = space.rows("upscaled_images")["0.png"]
    assert np.array_equal(stored(space, row.output_key).pixels, fixed.pixels)
    assert (row.output_key, row.details["replaced"]["by"]) == (made.output_key, "ann")
    assert space.document("0.png")["output_sha256"] == row.output_sha256 != made.output_sha256
    assert {asset: space.rows(asset)["1.png"] for asset in others} == others
    assert space.run() == 0

    assert review(space, "withdraw", image_id(space, "0.png"), *BY)[0] == 0
    space.run()
    assert sorted(space.computed) == [("quality_reports", "0.png"), ("upscaled_images", "0.png")]
    assert space.rows("upscaled_images")["0.png"].output_sha256 == made.output_sha256


def test_a_replacement_may_be_larger_than_sources_may_and_outlives_other_settings(
    space: Space, tmp_path: Path
) -> None:
    write_drawing(space.source, "0.png", seed=0)
    space.options["limits.max_pixels"] = 128 * 112  # As large as the source, a quarter of the enlargement.
    space.run()
    made = space.rows("upscaled_images")["0.png"]
    fixed = stored(space, made.output_key)
    fixed.pixels[10:20, 10:20] = (255, 0, 0, 255)
    file = tmp_path / "fixed.png"
    file.write_bytes(encode(fixed))
    code, text = review(space, "replace", image_id(space, "0.png"), str(file), *BY)
    assert code == 0, text
    space.run()
    replaced = space.rows("upscaled_images")["0.png"]
    assert (replaced.status, replaced.width) == (Status.OK, 256)
    space.run(**{"upscale.scale": 3})
    assert space.rows("upscaled_images")["0.png"].output_sha256 == replaced.output_sha256
    assert review(space, "withdraw", image_id(space, "0.png"), *BY)[0] == 0
    space.run(**{"upscale.scale": 3})
    assert space.rows("upscaled_images")["0.png"].width == 384


def test_a_matte_that_was_stopped_goes_on_once_it_is_accepted_or_replaced(
    space: Space, tmp_path: Path
) -> None:
    noise = np.random.default_rng(3).integers(0, 256, (96, 96, 3), np.uint8)
    for name in ("a.png", "b.png"):
        (Path(space.source) / name).write_bytes(encode(Image(noise.copy())))
    space.run()
    found = listed(space)
    assert {item["asset"] for item in found.values()} == {"matted_images"}
    cutout = np.dstack([noise, np.zeros((96, 96), np.uint8)])
    cutout[20:80, 20:80, 3] = 255
    file = tmp_path / "cutout.png"
    file.write_bytes(encode(Image(cutout), zero_transparent=False))
    assert review(space, "accept", found["a.png"]["image_id"], *BY)[0] == 0
    assert review(space, "replace", found["b.png"]["image_id"], str(file), *BY)[0] == 0
    space.run()
    later = [(asset, key) for asset in ("quality_reports", "upscaled_images") for key in ("a.png", "b.png")]
    assert sorted(space.computed) == sorted([("matted_images", "b.png"), *later])
    matted = space.rows("matted_images")
    assert (matted["a.png"].status, matted["a.png"].details["review"]["verdict"]) == (Status.OK, "accepted")
    assert space.rows("upscaled_images")["b.png"].width == 192
    kept = stored(space, matted["b.png"].output_key)
    assert np.array_equal(kept.pixels[..., 3], cutout[..., 3])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="isolation needs Linux")
def test_a_replacement_that_crashes_its_decoder_is_refused(
    space: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_drawing(space.source, "a.png", seed=0)
    space.run()
    monkeypatch.setattr(process, "_WORKER_CODE", MISBEHAVING)
    monkeypatch.setattr(isolation, "_kept", {})  # its workers run already, and behave
    monkeypatch.syspath_prepend(Path(__file__).resolve().parents[2])
    Path("segfault").write_bytes(encode(flat_drawing(1, 256, 224)))
    code, text = review(space, "replace", image_id(space, "a.png"), "segfault", *BY)
    assert (code, "crashed with SIGSEGV" in text) == (1, True), text
    assert not list((Path(space.output)).glob("review/**/*.json"))


def test_what_cannot_be_decided_is_refused_with_what_to_do(space: Space, tmp_path: Path) -> None:
    write_drawing(space.source, "good.png", seed=0)
    (Path(space.source) / "bad.png").write_bytes(b"<html>no image</html>")
    space.run()
    bad, good = image_id(space, "bad.png"), image_id(space, "good.png")
    small = tmp_path / "small.png"
    small.write_bytes(encode(flat_drawing(1, 64, 64)))
    page = tmp_path / "page.png"
    page.write_bytes(b"<html>")
    assert set(listed(space, "--status", "error")) == {"bad.png"}
    for arguments, said in (
        (("accept", bad), "ended in an error"),
        (("accept", "nobody-0123456789"), "no table of data set 'art'"),
        (("withdraw", good), "nothing to withdraw"),
        (("replace", bad, str(small)), "repair the source bad.png"),
        (("replace", good, str(small)), "in the same proportions"),
        (("replace", good, str(small), "--stage", "matted"), "expected 128x112 px"),
        (("replace", good, str(tmp_path / "none.png")), "expected a readable picture"),
    ):
        code, text = review(space, *arguments, *BY)
        assert (code, said in text) == (2, True), (arguments, text)
    code, text = review(space, "replace", good, str(page), *BY)
    assert (code, "UnsupportedFormat" in text) == (1, True), text
    opaque = tmp_path / "opaque.png"
    opaque.write_bytes(encode(flat_drawing(1, 128, 112)))
    code, text = review(space, "replace", good, str(opaque), "--stage", "matted", *BY)
    assert (code, "nothing in it is transparent" in text) == (2, True), text
    assert not list((Path(space.output)).glob("review/**/*.json"))

    assert review(space, "reject", bad, *BY)[0] == 0
    assert listed(space) == {}
    assert space.run() == 1  # A failed image is still tried again.
    assert space.rows()["bad.png"].status is Status.ERROR
    assert listed(space) == {}


def test_run_now_and_the_last_runs_settings(space: Space) -> None:
    """Through Dagster: ``run`` remembers its settings, and ``--run`` runs the data set afterwards."""
    for number in range(2):
        write_drawing(space.source, f"{number}.png", seed=number)
    options = {key: value for key, value in QUICK.items() if key not in ("dataset", "shard_size")}
    settings = [f"--set={key}={value}" for key, value in options.items()]
    place = ["--source", space.source, "--output", space.output, "--dataset", "art"]
    strict = "--set=quality.thresholds={psnr_y_min_db: 90}"
    invoke = CliRunner().invoke
    assert invoke(app, ["run", *place, *settings, strict], catch_exceptions=False).exit_code == 1
    found = json.loads(invoke(app, ["review", "list", "--json"], catch_exceptions=False).stdout)
    names = [item["image_id"] for item in found]
    assert len(names) == 2
    done = invoke(app, ["review", "accept", *names, "--run", *BY], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert {row.status for row in space.rows().values()} == {Status.OK}
    assert "0 waiting" in invoke(app, ["review", "list"], catch_exceptions=False).output
