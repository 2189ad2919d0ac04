"""Fixing: less of what is found, nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from skimage.metrics import peak_signal_noise_ratio

from imgpipe.config import load_settings
from imgpipe.errors import ConfigError, ModelMismatch
from imgpipe.fixing.clean_network import CleanNetwork, strength_of
from imgpipe.fixing.fix import fix
from imgpipe.images.decode import decode
from imgpipe.images.encode import encode
from imgpipe.images.image import Image
from imgpipe.inference.weights import locate
from imgpipe.settings import FixSettings, LimitSettings
from imgpipe.single import process_file
from imgpipe.stages.fix import FixStage
from imgpipe_tests.quality.drawings import area, draw

LIMITS = LimitSettings()
Rgb = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def drawing() -> Rgb:
    """Lines, flat colours and gradients, 192 px a side."""
    return np.ascontiguousarray(area(draw(3))[:192, :192])


@pytest.fixture(scope="module")
def network() -> CleanNetwork:
    return CleanNetwork(locate("imgpipe-clean", "fixing", Path()), "cpu")


def as_jpeg(rgb: Rgb, quality: int, sampling: int = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420) -> bytes:
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
    return cv2.imencode(".jpg", rgb[..., ::-1], options)[1].tobytes()


def decoded(data: bytes) -> Image:
    return decode(data, name="x.jpg", limits=LIMITS)


def pixels_of(image: Image) -> Rgb:
    assert image.pixels.dtype == np.uint8
    return np.asarray(image.pixels, np.uint8)


def psnr(truth: npt.NDArray[Any], result: npt.NDArray[Any]) -> float:
    return float(peak_signal_noise_ratio(truth, result, data_range=np.iinfo(truth.dtype).max))


def test_nothing_is_done_at_strength_0_and_to_a_clean_picture(drawing: Rgb) -> None:
    damaged = decoded(as_jpeg(drawing, 20))
    assert fix(damaged, 0.0).image is damaged
    clean = Image(drawing)
    assert fix(clean, 0.5).image is clean


@pytest.mark.parametrize("crop", [(0, 0), (3, 5)], ids=["on the grid", "off the grid"])
def test_a_jpeg_comes_nearer_to_what_it_was(drawing: Rgb, crop: tuple[int, int]) -> None:
    """Off the grid: saved again as something else, after a crop; its blocks are found in the pixels."""
    damaged = decoded(as_jpeg(drawing, 30))
    truth, found_by = drawing, "tables"
    if any(crop):
        damaged = Image(np.ascontiguousarray(pixels_of(damaged)[crop[0] :, crop[1] :]))
        truth, found_by = drawing[crop[0] :, crop[1] :], "pixels"
    gains = []
    for strength in (0.25, 0.5):
        fixed = fix(damaged, strength)
        gains.append(psnr(truth, fixed.image.pixels) - psnr(truth, damaged.pixels))
    assert gains[1] > gains[0] > 0.2
    assert gains[1] > 0.6
    jpeg = fixed.details["jpeg"]
    assert (jpeg["quality"], jpeg["found_by"]) == (30, found_by)
    assert jpeg["grid"] == [crop[1], crop[0]]
    assert fixed.details["done"] == ["deblocked"]
    assert fixed.image.jpeg is None


def test_lines_keep_the_energy_of_their_gradients(drawing: Rgb) -> None:
    def energy(rgb: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        luma = rgb @ np.array([0.299, 0.587, 0.114])
        rises = (cv2.Sobel(luma, cv2.CV_64F, *by) for by in ((1, 0), (0, 1)))
        return np.asarray(sum(one**2 for one in rises), np.float64)

    strong = energy(drawing) > 100.0**2
    damaged = decoded(as_jpeg(drawing, 30))
    kept = energy(fix(damaged, 0.5).image.pixels)[strong].sum() / energy(damaged.pixels)[strong].sum()
    assert kept == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("bits", [5, 6])
def test_steps_of_a_gradient_go_and_lines_stay(bits: int) -> None:
    rows, columns = np.mgrid[:256, :256]
    truth = np.repeat((96 + rows * 0.13 + columns * 0.21)[..., None], 3, axis=2)
    line = np.abs(rows - columns - 20) < 2
    truth[line] = 16
    kept = np.rint(truth).astype(np.uint8) >> (8 - bits) << (8 - bits)
    banded = np.asarray(kept | kept >> bits, np.uint8)
    fixed = fix(Image(banded), 0.5)
    away = ~cv2.dilate(line.astype(np.uint8), np.ones((9, 9), np.uint8)).astype(bool)
    before, after = (np.sqrt(((p - truth)[away] ** 2).mean()) for p in (banded, fixed.image.pixels))
    assert after < 0.5 * before
    assert (fixed.image.pixels[line] == banded[line]).all()
    assert fixed.details["bits"] == [bits] * 3
    assert fixed.details["banding"]["after"] < 0.5 * fixed.details["banding"]["before"]


def test_noise_goes_and_16_bits_stay(drawing: Rgb) -> None:
    truth = drawing.astype(np.uint16) * 257
    noise = np.random.default_rng(0).normal(0, 8 * 257, truth.shape)
    noisy: npt.NDArray[np.uint16] = np.clip(np.rint(truth + noise), 0, 65535).astype(np.uint16)
    image = Image(noisy, icc=b"profile", xmp=b"<x/>")
    fixed = fix(image, 0.5)
    assert psnr(truth, fixed.image.pixels) > psnr(truth, noisy) + 3
    assert fixed.image.pixels.dtype == np.uint16
    assert (fixed.image.icc, fixed.image.xmp) == (image.icc, image.xmp)
    assert fixed.details["noise_sigma_255"] == pytest.approx([8 * 0.67, 8 * 0.6, 8 * 0.7], rel=0.35)


def test_alpha_and_hidden_colours_stay(drawing: Rgb) -> None:
    damaged = decoded(as_jpeg(drawing, 20)).pixels
    alpha = np.full((*damaged.shape[:2], 1), 255, np.uint8)
    alpha[:, 90:] = 0
    hidden = np.concatenate([damaged, alpha], axis=2)
    other = hidden.copy()
    other[:, 90:, :3] = (255, 0, 255)
    fixed, with_other = (fix(Image(pixels), 0.5).image.pixels for pixels in (hidden, other))
    assert (fixed[..., 3] == alpha[..., 0]).all()
    assert (fixed[:, 90:, :3] == damaged[:, 90:]).all()
    assert (fixed[:, :90] != hidden[:, :90]).any()
    # What lies below transparency has no effect on what is seen.
    assert (fixed[:, :90] == with_other[:, :90]).all()


@pytest.mark.parametrize("make", ["jpeg", "bits", "noise", "jpeg, by the network"])
def test_pieces_leave_no_trace(drawing: Rgb, make: str, network: CleanNetwork) -> None:
    if "jpeg" in make:
        image = decoded(as_jpeg(drawing, 25))
    elif make == "bits":
        image = Image(np.asarray(drawing >> 3 << 3, np.uint8))
    else:
        noise = np.random.default_rng(1).normal(0, 8, drawing.shape)
        image = Image(np.clip(np.rint(drawing + noise), 0, 255).astype(np.uint8))
    restore = network if "network" in make else None
    whole = fix(image, 0.5, restore).image.pixels
    assert (fix(image, 0.5, restore, piece_px=64).image.pixels == whole).all()


def test_levels_stand_for_strengths_and_others_are_refused() -> None:
    settings = load_settings({"fix_artifacts": {"level": 3}})
    assert settings.fix_artifacts.denoise_strength == 1.0
    for wrong in ({"level": 4}, {"level": 1, "denoise_strength": 0.9}, {"denoise_strength": 1.5}):
        with pytest.raises(ConfigError, match=r"fix_artifacts"):
            load_settings({"fix_artifacts": wrong})


def test_through_the_command_line_s_way_with_its_record(drawing: Rgb, tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(as_jpeg(drawing, 30))
    settings = load_settings({"actions": ["fix_artifacts"]})
    done = process_file(path, settings, "PNG")
    assert done.data is not None
    result = decoded(done.data).pixels
    assert psnr(drawing, result) > psnr(drawing, decoded(path.read_bytes()).pixels) + 0.6
    record = json.loads(json.dumps(done.document))["fix_artifacts"]
    # The tables come from the worker process that decoded the file.
    assert (record["jpeg"]["quality"], record["jpeg"]["found_by"]) == (30, "tables")
    assert record["blockiness"]["after"] < record["blockiness"]["before"]
    assert done.document["dimensions_before"] == done.document["dimensions_after"]


def test_a_network_of_factor_1_does_it_and_a_larger_one_is_refused(drawing: Rgb, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file
    from spandrel.architectures.Compact import Compact

    def stage_with(scale: int) -> FixStage:
        network = Compact(num_in_ch=3, num_out_ch=3, num_feat=16, num_conv=1, upscale=scale)
        with torch.no_grad():
            for value in network.parameters():
                value.zero_()  # The shortcut alone is left.
        path = tmp_path / f"x{scale}.safetensors"
        save_file(network.state_dict(), path)
        return FixStage(FixSettings(model=str(path)), tmp_path, "cpu", 10**8)

    result = stage_with(1).run({"source": Image(drawing[:64, :64])}, {})
    fixed = result.outputs["fixed"]
    assert isinstance(fixed, Image)
    assert np.abs(fixed.pixels.astype(int) - drawing[:64, :64]).max() <= 1
    assert result.details["fix_artifacts"]["done"] == ["network"]
    assert result.model is not None
    assert result.model.sha256
    with pytest.raises(ModelMismatch, match="factor 1"):
        stage_with(2).load()


def test_the_network_of_this_package_does_it_where_damage_is_found(drawing: Rgb, tmp_path: Path) -> None:
    stage = FixStage(FixSettings(model="imgpipe-clean"), tmp_path, "cpu", 10**8)
    damaged = decoded(as_jpeg(drawing[:91, :111], 30))
    result = stage.run({"source": damaged}, {})
    fixed = result.outputs["fixed"]
    assert isinstance(fixed, Image)
    by_filters = fix(damaged, 0.5).image.pixels
    assert psnr(drawing[:91, :111], fixed.pixels) > psnr(drawing[:91, :111], by_filters) + 0.3
    assert result.details["fix_artifacts"]["done"] == ["deblocked", "network"]
    assert result.model is not None
    assert (result.model.name, result.model.backend) == ("imgpipe-clean", "onnx")
    clean = Image(drawing)
    left = stage.run({"source": clean}, {})
    assert left.outputs["fixed"] is clean
    assert left.model is not None
    assert left.model.backend == "classical"  # the network had no part in it


def test_the_network_is_told_how_strong_the_damage_is(drawing: Rgb, network: CleanNetwork) -> None:
    colour = pixels_of(decoded(as_jpeg(drawing, 30))).astype(np.float32)
    changes = [np.abs(network.change(colour, strength)).mean() for strength in (0.0, 0.2, 0.5, 0.8)]
    assert changes[0] == 0
    assert changes == sorted(changes)
    untouched = drawing + network.change(drawing.astype(np.float32), 0.25)
    assert psnr(drawing, np.rint(untouched.clip(0, 255)).astype(np.uint8)) > 50
    grey = network.change(colour[..., :1], 0.8)
    assert grey.shape == (*colour.shape[:2], 1)
    found = [fix(decoded(as_jpeg(drawing, 30)), s, network).image.pixels for s in (0.25, 0.5)]
    assert psnr(drawing, found[1]) > psnr(drawing, found[0])
    # libjpeg scales its tables to 167% at quality 30; of quality 20's 250% that is two thirds.
    told = [strength_of(30, share) for share in (1.0, 0.25)]
    assert told == pytest.approx([(2 / 3) ** 0.5, (1 / 6) ** 0.5])
    assert strength_of(5) == 1.0


@pytest.mark.parametrize("model", [None, "imgpipe-clean"])
def test_the_stage_s_fingerprint_follows_the_strength(tmp_path: Path, model: str | None) -> None:
    made = {
        FixStage(FixSettings(denoise_strength=s, model=m), tmp_path, "cpu", 1).fingerprint
        for s, m in ((0.4, model), (0.5, model), (0.5, "imgpipe-clean"))
    }
    assert len(made) == (3 if model is None else 2)


def test_encoded_twice_is_found_by_the_lower_quality(drawing: Rgb) -> None:
    """As a PNG of a JPEG would be: the second file's tables are not what did the damage."""
    twice = decoded(as_jpeg(pixels_of(decoded(as_jpeg(drawing, 30))), 95))
    fixed = fix(twice, 0.5)
    assert fixed.details["jpeg"]["found_by"] == "pixels"
    assert fixed.details["jpeg"]["quality"] == pytest.approx(30, abs=8)
    assert psnr(drawing, fixed.image.pixels) > psnr(drawing, twice.pixels) + 0.4
    assert encode(fixed.image)
