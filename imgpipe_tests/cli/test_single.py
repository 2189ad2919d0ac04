"""``image``, ``score``, ``models`` and ``doctor`` on the command line."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage

from imgpipe.cli import common
from imgpipe.images import decode as decode_module
from imgpipe.images.colour_description import SRGB_PRIMARIES, profile
from imgpipe.images.encode import encode
from imgpipe.images.image import Image
from imgpipe.images.metadata import exif_of_dpi
from imgpipe_tests.cli.kept_output import assert_as_kept
from imgpipe_tests.command_line import imgpipe
from imgpipe_tests.end_to_end.conftest import write_drawing
from imgpipe_tests.enhancement.pictures import waves
from imgpipe_tests.images import profiles
from imgpipe_tests.quality.documents import validate

FAST = ("--set", "rembg.model=classical", "--set", "upscale.model=lanczos", "--set", "upscale.scale=2")


pytestmark = pytest.mark.usefixtures("own_folder")


def test_image_makes_a_cutout_of_twice_the_size_with_its_report(tmp_path: Path) -> None:
    write_drawing(tmp_path, "in.png", seed=1)
    code, text = imgpipe("image", "in.png", "out.png", *FAST, "--report", "quality.json")
    assert code == 0, text
    assert_as_kept("image", text, {})
    result = PillowImage.open("out.png")
    assert (result.size, result.mode) == ((256, 224), "RGBA")
    document = json.loads(Path("quality.json").read_text())
    validate(document)
    assert document["status"] == "ok"
    assert document["dimensions_before"] == [128, 112]
    assert document["dimensions_after"] == [256, 224]
    assert document["enhanced_size_bytes"] == Path("out.png").stat().st_size
    assert document["matte"]["foreground"] == pytest.approx(
        np.pi * (112 / 3 + 1.5) ** 2 / (128 * 112), rel=0.03
    )


@pytest.mark.parametrize(("name", "encoding"), [("o.webp", "WEBP"), ("o.jpg", "JPEG"), ("o.tif", "TIFF")])
def test_the_ending_names_the_format_and_the_verdict_is_about_that_file(
    name: str, encoding: str, tmp_path: Path
) -> None:
    write_drawing(tmp_path, "in.png", seed=2)
    code, text = imgpipe("image", "in.png", name, "--actions", "upscale", *FAST, "--report", "q.json")
    assert code == 0, text
    assert PillowImage.open(name).format == encoding
    assert json.loads(Path("q.json").read_text())["enhanced_size_bytes"] == Path(name).stat().st_size


def test_a_file_is_not_overwritten_unless_asked(tmp_path: Path) -> None:
    write_drawing(tmp_path, "in.png", seed=1)
    Path("out.png").write_text("mine")
    code, text = imgpipe("image", "in.png", "out.png", *FAST)
    assert code == 2
    assert "--overwrite" in text
    assert Path("out.png").read_text() == "mine"
    assert imgpipe("image", "in.png", "out.png", *FAST, "--overwrite")[0] == 0


def test_a_rejected_cutout_is_written_when_asked(tmp_path: Path) -> None:
    PillowImage.new("RGB", (64, 64), "grey").save("blank.png")
    code, text = imgpipe("image", "blank.png", "out.png", *FAST)
    assert (code, Path("out.png").exists()) == (1, False)
    assert "--keep-rejected" in text
    code, text = imgpipe("image", "blank.png", "out.webp", *FAST, "--keep-rejected")
    assert (code, PillowImage.open("out.webp").mode) == (1, "RGBA"), text
    assert_as_kept("image-keep-rejected", text, {})


def test_a_report_in_place_of_the_picture_is_refused(tmp_path: Path) -> None:
    write_drawing(tmp_path, "in.png", seed=1)
    code, text = imgpipe("image", "in.png", "out.png", *FAST, "--report", "./out.png")
    assert (code, "--report: out.png" in text, Path("out.png").exists()) == (2, True, False)


@pytest.mark.parametrize(
    ("content", "code", "said"),
    [(b"", 1, "in.png"), (b"<html></html>", 1, "HTML"), (None, 2, "readable picture")],
)
def test_a_bad_picture_is_told_and_leaves_nothing(content: bytes | None, code: int, said: str) -> None:
    if content is not None:
        Path("in.png").write_bytes(content)
    found, text = imgpipe("image", "in.png", "out.png", *FAST)
    assert (found, said in text) == (code, True), text
    assert not Path("out.png").exists()


def test_score_accepts_a_faithful_enlargement_and_rejects_a_shifted_colour(tmp_path: Path) -> None:
    write_drawing(tmp_path, "in.png", seed=3)
    assert imgpipe("image", "in.png", "good.png", "--actions", "upscale", *FAST)[0] == 0
    pixels = np.asarray(PillowImage.open("good.png")).astype(int)
    PillowImage.fromarray(np.clip(pixels + 9, 0, 255).astype(np.uint8)).save("bad.png")
    code, text = imgpipe("score", "in.png", "good.png", "--json")
    assert code == 0
    document = json.loads(text)
    validate(document)
    code, text = imgpipe("score", "in.png", "bad.png", "--diff", "diff.png")
    assert code == 1
    assert "colours shifted" in text
    assert PillowImage.open("diff.png").format == "PNG"


def test_score_says_first_which_profile_judges_and_why(tmp_path: Path) -> None:
    write_drawing(tmp_path, "in.png", seed=3)
    assert imgpipe("image", "in.png", "out.webp", "--actions", "upscale", *FAST)[0] == 0

    def first(*options: str) -> str:
        return imgpipe("score", "in.png", *options)[1].splitlines()[0]

    assert first("out.webp") == "profile classical: its XMP names its maker, lanczos"
    with_model = first("out.webp", "--model", "realesrgan-anime-6b")
    assert with_model == "profile realesrgan: what was given names its maker, realesrgan-anime-6b"
    assert first("out.webp", "--profile", "realesrgan") == "profile realesrgan: as configured"
    PillowImage.open("out.webp").save("bare.png")
    assert first("bare.png").startswith("profile classical: guessed")
    document = json.loads(imgpipe("score", "in.png", "bare.png", "--json")[1])
    assert document["profile_reason"].startswith("guessed")
    code, text = imgpipe("score", "in.png", "out.webp", "--profile", "classical", "--model", "x")
    assert (code, "give one of both" in text) == (2, True)


def test_score_says_on_the_console_that_a_profile_was_lost_or_converted(tmp_path: Path) -> None:
    write_drawing(tmp_path, "in.png", seed=3)
    shown = PillowImage.open("in.png").convert("RGB")
    icc = profiles.rgb("Display P3", profiles.P3)
    shown.save("p3.png", icc_profile=icc)
    shown.save("lost.png")
    PillowImage.fromarray(profiles.by_pillow(np.asarray(shown), icc)).save("converted.png")
    for result, code in (("converted.png", 0), ("lost.png", 1)):
        found, text = imgpipe("score", "p3.png", result)
        said = " ".join(text.split())
        assert found == code, text
        assert "note: the colour profiles differ (source: Display P3, result: none" in said
        assert ("the colour profile was lost" in said) == bool(code)


def test_only_the_mask_and_a_background_on_request(tmp_path: Path) -> None:
    write_drawing(tmp_path, "in.png", seed=1)
    cut = ("image", "in.png")
    options = ("--actions", "rembg", *FAST)
    assert imgpipe(*cut, "cutout.png", *options)[0] == 0
    assert imgpipe(*cut, "mask.png", *options, "--only-mask")[0] == 0
    assert imgpipe(*cut, "red.png", *options, "--background", "#ff0000")[0] == 0
    assert imgpipe(*cut, "again.png", *options, "--background", "in.png")[0] == 0
    cutout = np.asarray(PillowImage.open("cutout.png"))
    mask = PillowImage.open("mask.png")
    assert mask.mode == "L"
    assert np.array_equal(np.asarray(mask), cutout[..., 3])
    red = np.asarray(PillowImage.open("red.png"))
    assert red[0, 0].tolist() == [255, 0, 0]
    opaque = cutout[..., 3] == 255
    assert np.array_equal(red[opaque], cutout[opaque][:, :3])
    back, source = (np.asarray(PillowImage.open(name)).astype(int) for name in ("again.png", "in.png"))
    # On its own source a soft pixel becomes aF + (1 - a)(aF + (1 - a)B): off by a(1 - a)|F - B| <= 255 / 4.
    assert np.abs(back - source).max() <= 64
    decided = (cutout[..., 3] == 0) | opaque
    assert np.array_equal(back[decided], source[decided])
    code, text = imgpipe(*cut, "x.png", *options, "--background", "#red")
    assert code == 2
    assert "#ffffff" in text


def test_a_mask_and_a_background_in_a_jpeg(tmp_path: Path) -> None:
    write_drawing(tmp_path, "in.png", seed=1)
    cut = ("image", "in.png")
    options = ("--actions", "rembg", *FAST)
    assert imgpipe(*cut, "white.png", *options, "--background", "#ffffff")[0] == 0
    code, text = imgpipe(*cut, "white.jpg", *options, "--background", "#ffffff", "--report", "q.json")
    assert code == 0, text
    assert imgpipe(*cut, "mask.png", *options, "--only-mask")[0] == 0
    assert imgpipe(*cut, "mask.jpg", *options, "--only-mask")[0] == 0
    for name, mode in (("white", "RGB"), ("mask", "L")):
        exact, lossy = PillowImage.open(f"{name}.png"), PillowImage.open(f"{name}.jpg")
        assert (lossy.format, lossy.mode) == ("JPEG", mode)
        assert np.abs(np.asarray(exact).astype(int) - np.asarray(lossy)).mean() < 2
    validate(json.loads(Path("q.json").read_text()))


def test_a_cutout_is_not_begun_for_a_jpeg(tmp_path: Path) -> None:
    write_drawing(tmp_path, "in.png", seed=1)
    code, text = imgpipe("image", "in.png", "out.jpg", "--actions", "rembg", *FAST)
    assert code == 2
    assert "--background" in text


def test_16_bits_and_an_opaque_alpha_in_a_jpeg_are_told(tmp_path: Path) -> None:
    wide = np.zeros((40, 50, 4), np.uint16)
    wide[..., :3] = np.linspace(0, 65535, 50)[None, :, None]
    wide[..., 3] = 65535
    Path("in.png").write_bytes(encode(Image(wide)))
    code, text = imgpipe("image", "in.png", "out.jpg", "--actions", "upscale", *FAST)
    assert code == 0, text
    assert "reduced to 8" in text
    assert "opaque throughout" in text
    assert PillowImage.open("out.jpg").mode == "RGB"


def test_metadata_too_long_for_a_jpeg_is_left_out_and_told() -> None:
    """Photoshop's XMP often is: the work was done, and nothing written."""
    picture = Image(
        waves(40, 50, 3), exif=exif_of_dpi((300, 300)) + bytes(70_000), xmp=b"<x>" + b" " * 80_000
    )
    Path("in.png").write_bytes(encode(picture))
    code, text = imgpipe("image", "in.png", "out.jpg", "--actions", "upscale", *FAST)
    assert code == 0, text
    for said in (r"EXIF of \d+ bytes left out", "XMP of 80003 bytes left out"):
        assert re.search(said, " ".join(text.split())), text
    with PillowImage.open("out.jpg") as opened:
        assert opened.size == (100, 80)


def test_grey_in_linear_light_becomes_a_webp_that_looks_alike() -> None:
    """A WebP's profile is for RGB; pictures get one for grey from PNG's gAMA, too."""
    levels = np.repeat(np.linspace(0, 65535, 60).astype(np.uint16)[None, :, None], 40, axis=0)
    grey = profile(SRGB_PRIMARIES, (1.0,), grey=True)
    Path("in.png").write_bytes(encode(Image(levels, icc=grey)))
    code, text = imgpipe("image", "in.png", "out.webp", "--actions", "upscale", *FAST)
    assert code == 0, text
    assert "WEBP holds no profile for grey" in " ".join(text.split())
    with PillowImage.open("out.webp") as opened:
        assert "icc_profile" not in opened.info
        shown = np.asarray(opened)[0, :, 0]
    light = np.linspace(0, 1, 60)
    wanted = 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    middle = (shown[2::2].astype(float)[:-1] + shown[3::2][:-1]) / 2  # two px for one
    np.testing.assert_allclose(middle[2:], wanted[3:-1], atol=1.0)


def test_what_a_format_cannot_hold_is_said_of_the_path() -> None:
    PillowImage.fromarray(waves(40, 50, 4)).save("in.png")
    # A network whose file does not exist: had it been asked for, the message would be another.
    upscale = ("--actions", "upscale", "--set", "upscale.model=models/none.pth")
    code, text = imgpipe("image", "in.png", "out.jpg", *upscale)
    assert code == 2
    assert "in.png: expected a picture without transparency for a JPEG" in " ".join(text.split())
    assert "--background" in text


@pytest.mark.parametrize(("name", "most"), [("out.jpg", "65500"), ("out.webp", "16383")])
def test_a_result_too_large_for_its_format_is_refused_before_the_work(
    name: str, most: str, tmp_path: Path
) -> None:
    PillowImage.fromarray(np.zeros((80, 7000), np.uint8)).save("in.png")
    began = time.monotonic()
    # A network whose file does not exist: had it been asked for, the message would be another.
    code, text = imgpipe(
        *("image", "in.png", name, "--actions", "upscale", "--set", "upscale.scale=10"),
        *("--set", "upscale.model=models/none.pth"),
    )
    assert code == 2, text
    for word in ("in.png", "7000x80", "70000x800", most, "PNG or TIFF"):
        assert word in " ".join(text.split()), text
    assert time.monotonic() - began < 30
    assert not Path(name).exists()


def test_messages_name_the_path(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    Path("folder/in.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    code, text = imgpipe("image", "folder/in.png", "out.png", *FAST)
    assert code == 1
    assert "folder/in.png: the PNG ends" in " ".join(text.split())
    assert "memory:" not in text


def test_score_matte_prints_zero_for_the_truth_and_the_share_that_is_wrong(tmp_path: Path) -> None:
    truth = np.zeros((40, 50), np.uint8)
    truth[10:30, 10:40] = 255
    wrong = truth.copy()
    wrong[10:30, 10:20] = 0
    for name, pixels in (("truth.png", truth), ("wrong.png", wrong)):
        PillowImage.fromarray(pixels).save(tmp_path / name)
    code, text = imgpipe("score", "--matte", "truth.png", "truth.png", "--json")
    assert code == 0
    assert {key: json.loads(text)[key] for key in ("sad", "mse", "grad", "conn", "iou")} == {
        "sad": 0.0,
        "mse": 0.0,
        "grad": 0.0,
        "conn": 0.0,
        "iou": 1.0,
    }
    errors = json.loads(imgpipe("score", "--matte", "truth.png", "wrong.png", "--json")[1])
    assert errors["sad"] == pytest.approx(200 / 1000)
    assert errors["mse"] == pytest.approx(200 / 2000 * 1000)
    assert errors["iou"] == pytest.approx(400 / 600)
    assert errors["pixel_accuracy"] == pytest.approx((1 - 16 * 6 / 600) ** 2)
    assert "boundary_mae" in imgpipe("score", "--matte", "truth.png", "wrong.png")[1]
    PillowImage.new("RGB", (50, 40), (0, 0, 9)).save(tmp_path / "opaque.png")
    code, text = imgpipe("score", "--matte", "truth.png", "opaque.png")
    assert code == 2
    assert "alpha" in text


def test_models_list_names_licences_digests_and_state(tmp_path: Path) -> None:
    code, text = imgpipe("models", "list", "--model-dir", str(tmp_path))
    assert code == 0
    for part in ("isnet-anime", "realesr-animevideov3", "BSD-3-Clause", "missing"):
        assert part in text


def test_models_are_listed_by_licence_those_that_cost_last(tmp_path: Path) -> None:
    text = imgpipe("models", "list", "--model-dir", str(tmp_path), "--sort", "licence")[1]
    order = [
        text.index(part) for part in ("Apache-2.0 (comm", "BSD-3-Clause (comm", "MIT (comm", "LicenseRef")
    ]
    assert order == sorted(order)
    assert text.rindex("(commercial use free)") < text.index("(no free commercial use)")
    assert "md5 7a35a0141cbbc80de11d9c9a28f52697" in text
    sizes = imgpipe("models", "list", "--model-dir", str(tmp_path), "--sort", "size")[1]
    assert sizes.index("realesr-animevideov3") < sizes.index("u2netp") < sizes.index("bria-rmbg")


def test_a_licence_must_be_allowed_to_be_fetched(tmp_path: Path) -> None:
    code, text = imgpipe("models", "pull", "bria-rmbg", "--model-dir", str(tmp_path))
    assert code == 2
    for part in ("LicenseRef-BRIA-RMBG-2.0", "models.allowed_licences", "paid agreement", "read its terms"):
        assert part in text


def test_models_verify_finds_a_corrupt_file(tmp_path: Path) -> None:
    assert imgpipe("models", "verify", "--model-dir", str(tmp_path))[0] == 0
    (tmp_path / "isnet-anime.onnx").write_bytes(b"something else")
    code, text = imgpipe("models", "verify", "--model-dir", str(tmp_path))
    assert code == 2
    assert "corrupt" in text


def test_models_pull_refuses_an_unknown_name() -> None:
    code, text = imgpipe("models", "pull", "isnet-anima")
    assert code == 2
    assert "isnet-anime" in text


def test_doctor_tells_what_fails_and_what_works(tmp_path: Path) -> None:
    code, text = imgpipe(
        "doctor",
        "--set",
        f"model_dir={tmp_path}",
        "--set",
        "upscale.model=lanczos",
        "--set",
        f"output={tmp_path}/out",
    )
    assert code == 2
    assert "fail matting model" in text
    assert "ok   upscaling model" in text
    assert "can be written" in text
    assert list((tmp_path / "out").iterdir()) == []


def test_doctor_as_a_health_check_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out").chmod(0o555)
    before = (tmp_path / "out").stat().st_mtime_ns
    code, text = imgpipe(
        "doctor",
        "--read-only",
        "--set",
        "rembg.model=classical",
        "--set",
        "upscale.model=lanczos",
        "--set",
        f"output={tmp_path}/out",
    )
    assert code == 0
    assert "out can be listed, it is empty" in text.replace("\n", " ")
    assert (tmp_path / "out").stat().st_mtime_ns == before


def test_help_names_every_command() -> None:
    code, text = imgpipe("--help")
    assert code == 0
    for command in ("demo", "run", "plan", "status", "report", "image", "score", "models", "doctor", "ui"):
        assert f" {command} " in text


def test_bytes_of_others_are_decoded_in_a_worker_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sources, backgrounds, results and mattes that are given: none by a decoder in this process."""
    here: list[bytes] = []
    in_process = decode_module.decode

    def watched(data: bytes, **options: Any) -> Image:
        here.append(data)
        return in_process(data, **options)

    monkeypatch.setattr(decode_module, "decode", watched)
    write_drawing(tmp_path, "in.png", seed=1)
    write_drawing(tmp_path, "behind.png", seed=2)
    assert imgpipe("image", "in.png", "out.png", *FAST, "--background", "behind.png")[0] == 0
    assert imgpipe("image", "in.png", "cutout.png", *FAST)[0] == 0
    assert here, "our own files are decoded here"
    assert not {Path("in.png").read_bytes(), Path("behind.png").read_bytes()} & {*here}
    here.clear()
    assert imgpipe("score", "in.png", "out.png")[0] in (0, 1)
    assert imgpipe("score", "--matte", "cutout.png", "cutout.png")[0] == 0
    assert not here


def test_settings_of_the_folder_that_name_files_are_said_once() -> None:
    common._say_found_file.cache_clear()
    Path("imgpipe.yaml").write_text("output: results\n")
    Path("results").mkdir()
    for said in (1, 0):  # Once in a process.
        assert imgpipe("files", "nothing")[1].count("settings: ./imgpipe.yaml") == said
    common._say_found_file.cache_clear()
    Path("imgpipe.yaml").write_text("shard_size: 5\n")
    assert "settings:" not in imgpipe("files", "nothing")[1]
