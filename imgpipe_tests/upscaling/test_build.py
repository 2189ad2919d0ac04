"""Which upscaler settings mean, and what a missing model becomes."""

from __future__ import annotations

from pathlib import Path

import pytest

from imgpipe.errors import ConfigError, LimitExceeded, WeightsCorrupt, WeightsMissing
from imgpipe.inference.weights import REGISTRY
from imgpipe.settings import LimitSettings, UpscaleSettings
from imgpipe.upscaling.build import build_upscaler, fingerprint
from imgpipe.upscaling.upscaler import TargetSize
from imgpipe_tests.imports import loaded_by


@pytest.mark.parametrize("name", ["lanczos", "bicubic"])
def test_classical_models(name: str, tmp_path: Path) -> None:
    upscaler = build_upscaler(UpscaleSettings(model=name), model_dir=tmp_path)
    assert (upscaler.model.name, upscaler.model.backend, upscaler.model.fallback_reason) == (
        name,
        "classical",
        "",
    )


def test_missing_weights_fail(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match="imgpipe models pull realesrgan-anime-6b"):
        build_upscaler(UpscaleSettings(), model_dir=tmp_path)


def test_missing_weights_fall_back_on_record(tmp_path: Path) -> None:
    upscaler = build_upscaler(UpscaleSettings(fallback="classical"), model_dir=tmp_path)
    assert upscaler.model.name == "lanczos"
    assert "realesrgan-anime-6b" in upscaler.model.fallback_reason


def test_missing_packages_are_named_or_fall_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "any.safetensors"
    path.write_bytes(b"x")
    monkeypatch.setattr("imgpipe.upscaling.build._NEEDED_PACKAGES", {"spandrel": ("a_package_nobody_has",)})
    settings = UpscaleSettings(model=str(path), fallback="classical")
    assert "a_package_nobody_has" in build_upscaler(settings, model_dir=tmp_path).model.fallback_reason
    with pytest.raises(Exception, match=r"install imgpipe\[networks\]"):
        build_upscaler(UpscaleSettings(model=str(path)), model_dir=tmp_path)


def test_a_corrupt_file_never_falls_back(tmp_path: Path) -> None:
    (tmp_path / REGISTRY["realesr-animevideov3"].filename).write_bytes(b"not it")
    with pytest.raises(WeightsCorrupt):
        build_upscaler(
            UpscaleSettings(model="realesr-animevideov3", fallback="classical"), model_dir=tmp_path
        )


def test_an_unknown_name_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="lanczos"):
        build_upscaler(UpscaleSettings(model="lanczso"), model_dir=tmp_path)


def test_boxes_are_met_on_one_side_and_exceeded_on_none() -> None:
    for width, height in ((640, 480), (333, 1000), (7, 5), (1920, 1081)):
        for box in ((1000, 1000), (1234, 567), (3, 3)):
            new = TargetSize(4, target_size=box).size(width, height)
            assert new[0] == box[0] or new[1] == box[1]
            assert new[0] <= box[0]
            assert new[1] <= box[1]
            least = TargetSize(2, min_dimensions=box).size(width, height)
            assert least[0] >= max(box[0], 2 * width)
            assert least[1] >= max(box[1], 2 * height)


def test_two_boxes_are_refused() -> None:
    with pytest.raises(ValueError, match="exclude each other"):
        UpscaleSettings(target_size=(10, 10), min_dimensions=(10, 10))


def test_the_message_names_the_setting_that_is_too_large() -> None:
    target = TargetSize(4, min_dimensions=(9000, 10))
    with (
        pytest.raises(LimitExceeded, match=r"upscale.min_dimensions=9000x10 would be .* lower upscale.min"),
        target.within(LimitSettings(max_output_pixels=1000), 100, 100),
    ):
        pytest.fail("nothing is computed")


def test_sizes_round_half_up() -> None:
    assert TargetSize(1.5).size(3, 5) == (5, 8)
    assert TargetSize(0.1).size(1, 1) == (1, 1)
    with TargetSize(4).within(LimitSettings(max_output_pixels=160_000), 100, 100):
        pass


def test_importing_the_builder_loads_no_torch() -> None:
    code = "import imgpipe.upscaling.build, imgpipe.upscaling.upscaler, imgpipe.upscaling.tiling"
    assert loaded_by(code, ("torch", "cv2", "spandrel", "PIL")) == []


def test_the_fingerprint_follows_what_the_pictures_depend_on(tmp_path: Path) -> None:
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    first.write_bytes(b"one")
    second.write_bytes(b"two")

    def of(model: str, **changes: object) -> str:
        settings = UpscaleSettings.model_validate({"model": model, **changes})
        return fingerprint(settings, tmp_path, device="cpu")

    base = of(str(first))
    moved = tmp_path / "moved.safetensors"
    moved.write_bytes(b"one")
    assert of(str(first), tile_size=64) == base == of(str(moved))
    different = [
        of(str(second)),
        of(str(first), scale=2.0),
        of(str(first), color_match=False),
        of(str(first), halo=3),
        of(str(first), precision="fp16"),
        of(str(first), backend="realesrgan"),
        of(str(first), target_size=(64, 64)),
        of(str(first), min_dimensions=(64, 64)),
        of(str(first), alpha="network"),
        of(str(first), tta=True),
        of("lanczos"),
        of("bicubic"),
        of("lanczos", scale=2.0),
    ]
    assert len({base, *different}) == 1 + len(different)
    assert of(str(first), batch_size=4) == base
    assert of("lanczos", color_match=False, precision="fp32", tta=True) == of("lanczos")
    assert of("lanczos", target_size=(64, 64)) != of("lanczos")


@pytest.mark.parametrize(("pays", "meant"), [(True, "bf16"), (False, "fp32")])
def test_the_fingerprint_holds_what_auto_means(
    pays: bool, meant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgpipe.inference.device.bf16_pays", lambda: pays)
    path = tmp_path / "any.safetensors"
    path.write_bytes(b"one")
    of = {
        precision: fingerprint(UpscaleSettings(model=str(path), precision=precision), tmp_path, device="cpu")
        for precision in ("auto", "fp32", "bf16", "fp16")
    }
    assert [other for other in of if of[other] == of["auto"]] == ["auto", meant]
    onnx = tmp_path / "any.onnx"
    onnx.write_bytes(b"two")
    own = {
        fingerprint(UpscaleSettings(model=str(onnx), precision=precision), tmp_path, device="cpu")
        for precision in ("auto", "fp32", "bf16")
    }
    assert len(own) == 1, "an ONNX file has its own precision"


def test_missing_weights_have_the_fallbacks_fingerprint_or_none(tmp_path: Path) -> None:
    fallen = fingerprint(UpscaleSettings(fallback="classical"), tmp_path)
    assert fallen == fingerprint(UpscaleSettings(model="lanczos"), tmp_path)
    with pytest.raises(WeightsMissing):
        fingerprint(UpscaleSettings(), tmp_path)
