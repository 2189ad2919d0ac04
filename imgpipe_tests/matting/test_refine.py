from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from imgpipe.images.image import Image
from imgpipe.matting.matte import NO_SUBJECT, CoarseMatte, Matte
from imgpipe.matting.refine import finish
from imgpipe.records import Status
from imgpipe.settings import RembgSettings
from imgpipe_tests.matting.drawing import as_a_network_would, make_scene
from imgpipe_tests.opencv_files import opencv_decode


def _finish(image: Image, alpha: np.ndarray, **settings: object) -> Matte:
    coarse = CoarseMatte(alpha=alpha.astype(np.float32), evidence=1.0, confidence=1.0)
    return finish(image, coarse, RembgSettings.model_validate(settings), {"network": 0.1})


def test_refinement_brings_back_what_the_network_blurred() -> None:
    scene = make_scene(3, "gradient", 256)
    coarse = as_a_network_would(scene.alpha)
    matte = _finish(Image(scene.picture), coarse)
    before, after = np.abs(coarse - scene.alpha).sum(), np.abs(matte.alpha - scene.alpha).sum()
    assert after < 0.1 * before, f"SAD before {before:.1f} px, after {after:.1f} px"
    band = (scene.alpha > 0.1) & (scene.alpha < 0.9) & (matte.alpha > 0)
    colours = matte.image.pixels[band][:, :3] / 255
    contaminated = np.abs(scene.picture[band] / 255 - scene.foreground[band]).mean()
    assert np.abs(colours - scene.foreground[band]).mean() < 0.25 * contaminated
    assert matte.details["refinement"] == "coarse-to-fine"
    assert 0 < matte.details["unknown_share"] < 0.5
    assert set(matte.seconds) == {"network", "refine", "foreground"}


def test_the_cutout_composites_back_to_the_source() -> None:
    scene = make_scene(5, "flat", 200)
    matte = _finish(Image(scene.picture), as_a_network_would(scene.alpha))
    background = scene.picture[0, 0] / 255
    alpha = matte.image.pixels[..., 3:] / 255
    again = matte.image.pixels[..., :3] / 255 * alpha + background * (1 - alpha)
    error = np.abs(again - scene.picture / 255)
    assert error.mean() < 0.002, f"mean {error.mean():.4f}, max {error.max():.3f}"


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_depth_channels_and_opaque_pixels_are_the_sources(
    dtype: type[np.uint8] | type[np.uint16], channels: int
) -> None:
    rng = np.random.default_rng(channels)
    full = int(np.iinfo(dtype).max)
    pixels: np.ndarray = rng.integers(0, full, (60, 50, channels), endpoint=True).astype(dtype)
    if channels in (2, 4):
        pixels[..., -1] = full
    image = Image(pixels, icc=b"profile", exif=b"exif", xmp=b"xmp", source_format="PNG")
    disc = np.zeros((60, 50), np.float32)
    cv2.circle(disc, (25, 30), 18, 1.0, -1)
    matte = _finish(image, cv2.GaussianBlur(disc, (0, 0), 1.5))
    cutout = matte.image
    assert cutout.pixels.dtype == dtype
    assert cutout.channels == (2 if channels < 3 else 4)
    assert (cutout.icc, cutout.exif, cutout.xmp) == (b"profile", b"exif", b"xmp")
    assert matte.alpha.dtype == np.float32
    opaque = cutout.pixels[..., -1] == full
    assert opaque.sum() > 300
    np.testing.assert_array_equal(cutout.pixels[opaque][:, :-1], image.colour[opaque])
    assert not cutout.pixels[cutout.pixels[..., -1] == 0].any()
    np.testing.assert_allclose(cutout.pixels[..., -1] / full, matte.alpha, atol=0.51 / full)


def test_the_sources_alpha_is_multiplied_in_and_its_holes_stay() -> None:
    pixels = np.full((80, 80, 4), 255, np.uint8)
    pixels[..., :3] = (40, 90, 200)
    pixels[20:60, 20:60, :3] = (220, 60, 40)
    pixels[30:40, 30:40, 3] = 0
    pixels[45:55, 45:55, 3] = 128
    subject = np.zeros((80, 80), np.float32)
    subject[20:60, 20:60] = 1
    matte = _finish(Image(pixels), cv2.GaussianBlur(subject, (0, 0), 1))
    result = matte.image.pixels
    assert not result[30:40, 30:40].any()
    np.testing.assert_array_equal(result[46:54, 46:54, 3], 128)
    np.testing.assert_array_equal(result[22:28, 22:58, 3], 255)
    np.testing.assert_array_equal(result[:17, :, 3], 0)


def test_the_guard_keeps_the_networks_alpha() -> None:
    rng = np.random.default_rng(0)
    picture = np.full((96, 96, 3), 90, np.uint8)
    picture[40:56, 40:56] = (230, 40, 40)
    coarse = np.full((96, 96), 0.6, np.float32)
    coarse[46:50, 46:50] = 1
    coarse[:3] = coarse[-3:] = coarse[:, :3] = coarse[:, -3:] = 0
    picture = np.clip(picture + rng.integers(-1, 2, picture.shape), 0, 255).astype(np.uint8)
    matte = _finish(Image(picture), coarse)
    assert matte.details["refinement"] == "guarded"
    assert matte.details["iou_with_coarse"] < 0.8
    assert "IoU" in matte.reasons[0]
    assert matte.status is Status.OK
    np.testing.assert_array_equal(matte.alpha, coarse)
    trusting = _finish(Image(picture), coarse, guard_iou=0.0)
    assert trusting.details["refinement"] == "coarse-to-fine"


def test_matting_off_keeps_the_probabilities_but_not_the_background() -> None:
    scene = make_scene(3, "flat", 160)
    matte = _finish(Image(scene.picture), scene.alpha, alpha_matting=False)
    np.testing.assert_allclose(matte.alpha, scene.alpha, atol=0.5 / 255)
    assert matte.details["refinement"] == "none"


def test_a_mask_that_is_never_certain_is_kept_and_said() -> None:
    scene = make_scene(1, "flat", 96)
    matte = _finish(Image(scene.picture), scene.alpha * 0.9)
    assert "foreground_threshold 240" in matte.reasons[0]
    np.testing.assert_allclose(matte.alpha, scene.alpha * 0.9, atol=0.5 / 255)


def test_a_refusal_becomes_an_empty_cutout() -> None:
    image = Image(np.full((9, 7, 1), 70, np.uint16), icc=b"grey")
    coarse = CoarseMatte(np.ones((9, 7), np.float32), 0.0, 0.0, refusal="why")
    matte = finish(image, coarse, RembgSettings(), {})
    assert (matte.status, matte.reasons) == (Status.REJECTED, (NO_SUBJECT, "why"))
    assert matte.image.pixels.shape == (9, 7, 2)
    assert not matte.image.pixels.any()
    assert matte.image.icc == b"grey"


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (2, 2), (8, 8)])
@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_tiny_pictures_are_defined(shape: tuple[int, int], value: float) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.uint8)
    matte = _finish(Image(pixels), np.full(shape, value))
    np.testing.assert_array_equal(matte.alpha, np.float32(value))


def test_a_real_matte_is_refined(shared: Path) -> None:
    folder = shared / "data/anime"
    picture = opencv_decode((folder / "anime-girl-1.jpg").read_bytes())[..., ::-1]
    matted = (folder / "anime-girl-1.isnet-anime.png").read_bytes()
    published = opencv_decode(matted, cv2.IMREAD_UNCHANGED)
    coarse = published[..., 3].astype(np.float32) / 255
    matte = _finish(Image(np.ascontiguousarray(picture)), coarse)
    assert matte.details["refinement"] == "coarse-to-fine"
    assert matte.details["iou_with_coarse"] > 0.95
    assert matte.details["unknown_share"] < 0.1
    opaque = matte.image.pixels[..., 3] == 255
    np.testing.assert_array_equal(matte.image.pixels[opaque][:, :3], picture[opaque])
