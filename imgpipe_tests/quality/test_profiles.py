from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from imgpipe.metrics import LIMITS
from imgpipe.quality.profiles import check_all, choose_profile, thresholds_for
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
        (ModelUse("imgpipe-lite", "onnx"), "lite"),
        (ModelUse("imgpipe-lite-x2", "onnx"), "lite"),
        (ModelUse("imgpipe-clean", "onnx"), "lite"),
        (ModelUse("realesrgan-anime-6b", "spandrel"), "realesrgan"),
        (ModelUse("RealESRGAN_x4plus_anime_6B", "spandrel"), "realesrgan"),
        (ModelUse("/models/my.safetensors", "spandrel"), "network"),
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
    assert thresholds["ssim_y_min"].value == LIMITS["ssim_y_min"].classical


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


def test_a_limit_gives_way_to_what_lanczos_reaches_and_no_further() -> None:
    thresholds = thresholds_for("classical", AUTO)
    reached = {"ssim_y": 0.91, "color_shift_255": 4.0, "psnr_y": 40.0}

    def messages(**metrics: float) -> dict[str, str]:
        checks = check_all(metrics, thresholds, reached)
        return {check.name: check.message for check in checks if not check.passed}

    assert not messages(ssim_y=0.886, color_shift_255=5.5)
    assert messages(ssim_y=0.88, color_shift_255=6.0, psnr_y=19.0) == {
        "ssim_y_min": "structure differs: SSIM 0.880, at least 0.885 needed: "
        "what a Lanczos enlargement of this source reaches, less 0.025",
        "color_shift_255_max": "colours shifted by 6.0 of 255, allowed 5.5: "
        "what a Lanczos enlargement of this source reaches, and 1.5",
        "psnr_y_min_db": "brightness differs: PSNR 19.0 dB, at least 20.0 needed",
    }


def test_thresholds_and_documents_load_no_heavy_library() -> None:
    program = (
        "import sys, imgpipe.quality.profiles, imgpipe.quality.document, imgpipe.metrics;"
        "print([n for n in ('cv2', 'numpy', 'torch', 'PIL', 'jsonschema', 'scipy') if n in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_severities_by_check_and_by_threshold() -> None:
    settings = QualitySettings(
        severity={"ssim": "warn", "worst_window_min": "error", "psnr_y_min_db": "info"}
    )
    thresholds = thresholds_for("classical", settings)
    assert thresholds["ssim_y_min"].severity is Severity.WARN
    assert thresholds["ssim_y_half_min"].severity is Severity.WARN
    assert thresholds["worst_window_min"].severity is Severity.ERROR
    assert thresholds["psnr_y_min_db"].severity is Severity.INFO
    assert thresholds["components_max"].severity is Severity.WARN  # as the rule has it
    with pytest.raises(ValueError, match="did you mean 'psnr'"):
        QualitySettings(severity={"psn": "warn"})
    with pytest.raises(ValueError, match="warn"):
        QualitySettings(severity={"psnr": "harmless"})


def write_profile(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_profile_of_ones_own_from_a_file(tmp_path: Path) -> None:
    path = write_profile(
        tmp_path / "soft.yaml",
        "quality: {profile: realesrgan, severity: {psnr: warn}, "
        "thresholds: {psnr_y_min_db: 33, ssim_y_min: 0.8}}",
    )
    settings = QualitySettings(profile=path, thresholds={"ssim_y_min": 0.7})
    assert (settings.profile, settings.profile_name) == ("realesrgan", "soft")
    thresholds = thresholds_for(choose_profile(settings, None), settings)
    assert thresholds["psnr_y_min_db"].value == 33
    assert thresholds["psnr_y_min_db"].severity is Severity.WARN
    assert thresholds["ssim_y_min"].value == 0.7  # what is given beside the file wins
    assert thresholds["worst_window_min"].value == LIMITS["worst_window_min"].realesrgan
    assert QualitySettings(**settings.model_dump()) == settings  # the file is not needed any more


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("thresholds: {}", "expected a `quality:` section"),
        ("quality: {profile: other.yaml}", "must name one of"),
        ("quality: {thresholds: {psnr: 1}}", "is not a threshold"),
        ("quality: [", "readable YAML"),
    ],
)
def test_a_profile_file_that_cannot_be_used_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        QualitySettings(profile=write_profile(tmp_path / "bad.yaml", text))


def test_an_unknown_profile_is_refused_with_the_names() -> None:
    with pytest.raises(
        ValueError, match="auto, classical, lite, network, realesrgan or a readable YAML file"
    ):
        QualitySettings(profile="realesgan")
