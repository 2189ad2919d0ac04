from __future__ import annotations

import subprocess
import sys

import pytest

from imgpipe.quality.profiles import PROFILES, check_all, choose_profile, thresholds_for
from imgpipe.quality.report import Severity
from imgpipe.records import ModelUse
from imgpipe.settings import QualitySettings

AUTO = QualitySettings()


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (None, "classical"),
        (ModelUse("lanczos", "opencv"), "classical"),
        (ModelUse("bicubic", "pillow"), "classical"),
        (ModelUse("none", "none"), "classical"),
        (ModelUse("realesrgan-anime-6b", "spandrel"), "realesrgan"),
        (ModelUse("/models/my.safetensors", "spandrel"), "realesrgan"),
    ],
)
def test_auto_follows_the_model(model: ModelUse | None, expected: str) -> None:
    assert choose_profile(AUTO, model) == expected


def test_a_named_profile_wins() -> None:
    named = QualitySettings(profile="realesrgan")
    assert choose_profile(named, None) == "realesrgan"


def test_single_thresholds_replace_the_profiles() -> None:
    thresholds = thresholds_for("classical", QualitySettings(thresholds={"psnr_y_min_db": 41}))
    assert thresholds["psnr_y_min_db"].value == 41
    assert thresholds["ssim_y_min"].value == PROFILES["classical"]["ssim_y_min"]


def test_messages_say_what_was_found_and_what_is_allowed() -> None:
    checks = check_all({"color_shift_255": 3.2, "psnr_y": 31.0}, thresholds_for("classical", AUTO))
    by_name = {check.name: check for check in checks}
    shifted = by_name["color_shift_255_max"]
    assert not shifted.passed
    assert shifted.message == "colours shifted by 3.2 of 255, allowed 2.0"
    assert by_name["psnr_y_min_db"].passed
    assert by_name["ssim_y_min"].value is None
    assert by_name["ssim_y_min"].passed
    assert by_name["components_max"].severity is Severity.WARN


def test_the_limit_itself_is_allowed() -> None:
    thresholds = thresholds_for("classical", AUTO)
    checks = check_all({"psnr_y": 20.0, "color_shift_255": 2.0}, thresholds)
    assert all(check.passed for check in checks)
    checks = check_all({"psnr_y": 19.999, "color_shift_255": 2.001}, thresholds)
    assert sum(not check.passed for check in checks) == 2


def test_thresholds_and_documents_load_no_heavy_library() -> None:
    program = (
        "import sys, imgpipe.quality.profiles, imgpipe.quality.document, imgpipe.quality.metrics;"
        "print([n for n in ('cv2', 'numpy', 'torch', 'PIL', 'jsonschema', 'scipy') if n in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
