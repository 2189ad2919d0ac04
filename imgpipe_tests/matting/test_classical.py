from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from imgpipe.images.image import Image
from imgpipe.matting.build import build_matter
from imgpipe.matting.classical import find_subject
from imgpipe.matting.matte import NO_SUBJECT, Matter
from imgpipe.records import Status
from imgpipe.settings import RembgSettings
from imgpipe_tests.matting.drawing import make_scene


@pytest.fixture(scope="module")
def matter() -> Matter:
    return build_matter(RembgSettings(model="classical"), model_dir=Path("nowhere"))


def _iou(one: np.ndarray, other: np.ndarray) -> float:
    first, second = one >= 0.5, other >= 0.5
    return float((first & second).sum() / (first | second).sum())


@pytest.mark.parametrize(("background", "wanted"), [("flat", 0.97), ("gradient", 0.92), ("noisy", 0.92)])
def test_drawings_on_backgrounds(matter: Matter, background: str, wanted: float) -> None:
    scenes = [make_scene(seed, background, 256) for seed in range(8)]
    mattes = [matter.matte(Image(scene.picture)) for scene in scenes]
    ious = [_iou(matte.alpha, scene.alpha) for matte, scene in zip(mattes, scenes, strict=True)]
    assert np.mean(ious) >= wanted, f"IoU {np.round(ious, 3)}"
    accepted = sum(matte.status is Status.OK for matte in mattes)
    assert accepted >= 7, [matte.reasons for matte in mattes]


def test_strands_and_gaps_are_kept_on_a_flat_background(matter: Matter) -> None:
    picture = np.full((256, 256, 3), (235, 235, 245), np.uint8)
    cv2.circle(picture, (128, 100), 50, (60, 30, 20), -1)
    for x in range(100, 160, 12):
        cv2.line(picture, (x, 120), (x + 8, 230), (60, 30, 20), 3)
    truth = (picture[..., 0] == 60).astype(np.float32)
    matte = matter.matte(Image(picture))
    error = np.abs(matte.alpha - truth)
    assert error.max() < 0.05, f"max {error.max():.3f}, SAD {error.sum():.1f} px"


def test_busy_backgrounds_are_not_trusted(matter: Matter) -> None:
    mattes = [matter.matte(Image(make_scene(seed, "drawn", 256).picture)) for seed in range(8)]
    rejected = [matte for matte in mattes if matte.status is Status.REJECTED]
    told = [f"{matte.metrics['confidence']:.2f}" for matte in mattes]
    assert len(rejected) >= 7, told
    assert all("confidence" in matte.reasons[0] for matte in rejected)
    assert all(matte.metrics["confidence"] < RembgSettings().confidence_minimum for matte in rejected)


def test_how_sure_it_must_be_is_a_setting() -> None:
    image = Image(make_scene(0, "drawn", 192).picture)
    lenient = RembgSettings(model="classical", confidence_minimum=0.0)
    strict = RembgSettings(model="classical", confidence_minimum=1.0)
    statuses = [build_matter(s, model_dir=Path("nowhere")).matte(image).status for s in (lenient, strict)]
    assert statuses == [Status.OK, Status.REJECTED]


def test_a_garment_in_the_backgrounds_colour_is_kept(matter: Matter) -> None:
    picture = np.full((240, 200, 3), (238, 232, 218), np.uint8)
    truth = np.zeros((240, 200), np.uint8)
    for canvas, colour, line in ((picture, (248, 230, 222), (70, 40, 40)), (truth, 1, 1)):
        cv2.rectangle(canvas, (50, 110), (150, 260), colour, -1)
        cv2.rectangle(canvas, (50, 110), (150, 260), line, 3)
    for canvas, colour in ((picture, (40, 120, 110)), (truth, 1)):
        cv2.circle(canvas, (100, 80), 45, colour, -1)
    matte = matter.matte(Image(picture))
    assert _iou(matte.alpha, truth.astype(np.float32)) > 0.98
    assert matte.alpha[180:230, 60:140].min() == 1


def test_small_things_in_the_background_are_told(matter: Matter) -> None:
    picture = np.full((240, 240, 3), (40, 40, 90), np.uint8)
    for y in range(6, 240, 16):
        for x in range(6, 240, 16):
            picture[y : y + 3, x : x + 3] = (250, 220, 120)
    cv2.circle(picture, (120, 120), 70, (230, 120, 140), -1)
    matte = matter.matte(Image(picture))
    assert matte.status is Status.REJECTED
    assert matte.details["confidence_parts"]["no_specks"] < 0.5


def test_it_is_deterministic_whatever_ran_before_and_beside() -> None:
    images = [Image(make_scene(seed, "noisy", 128).picture) for seed in range(4)]
    first = [find_subject(image).alpha for image in images]
    cv2.setRNGSeed(99)
    with ThreadPoolExecutor(4) as pool:
        again = list(pool.map(lambda image: find_subject(image).alpha, reversed(images)))
    for one, other in zip(first, reversed(again), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_sources_own_alpha_is_the_mask(matter: Matter) -> None:
    pixels = np.random.default_rng(0).integers(0, 65536, (40, 50, 4)).astype(np.uint16)
    pixels[:10, :, 3], pixels[20:, :, 3] = 0, 65535
    matte = matter.matte(Image(pixels))
    np.testing.assert_array_equal(matte.image.pixels[..., 3], pixels[..., 3])
    visible = pixels[..., 3] > 0
    np.testing.assert_array_equal(matte.image.pixels[visible], pixels[visible])
    assert matte.status is Status.OK
    assert matte.details["mask_from"] == "source alpha"


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_an_empty_picture_has_no_subject(matter: Matter, channels: int) -> None:
    pixels = np.full((64, 48, channels), 200, np.uint8)
    if channels in (2, 4):
        pixels[..., -1] = 255
    matte = matter.matte(Image(pixels))
    assert matte.status is Status.REJECTED
    assert matte.reasons[0] == NO_SUBJECT
    assert not matte.image.pixels.any()


def test_a_fully_transparent_source_has_no_subject(matter: Matter) -> None:
    matte = matter.matte(Image(np.zeros((20, 20, 4), np.uint8)))
    assert matte.reasons == (NO_SUBJECT, "the source is fully transparent")


def test_specks_go_and_small_enclosed_areas_are_filled() -> None:
    picture = np.full((200, 200, 3), 250, np.uint8)
    cv2.rectangle(picture, (50, 50), (150, 150), (40, 80, 160), -1)
    cv2.circle(picture, (80, 80), 2, (250, 250, 250), -1)
    cv2.rectangle(picture, (100, 100), (130, 130), (250, 250, 250), -1)
    picture[10, 10] = 0
    alpha = find_subject(Image(picture)).alpha
    assert alpha[10, 10] == 0
    assert alpha[80, 80] == 1
    assert alpha[115, 115] == 0


def test_grey_and_sixteen_bits(matter: Matter) -> None:
    pixels = np.full((80, 80, 1), 60000, np.uint16)
    cv2.circle(pixels, (40, 40), 20, (9000,), -1)
    matte = matter.matte(Image(pixels))
    assert matte.image.pixels.shape == (80, 80, 2)
    assert matte.image.bit_depth == 16
    assert _iou(matte.alpha, (pixels[..., 0] == 9000).astype(np.float32)) > 0.98


@pytest.mark.parametrize("shape", [(1, 1), (1, 60), (60, 1), (8, 8)])
def test_tiny_pictures_are_defined(matter: Matter, shape: tuple[int, int]) -> None:
    for seed in range(3):
        pixels = np.random.default_rng(seed).integers(0, 256, (*shape, 3)).astype(np.uint8)
        matte = matter.matte(Image(pixels))
        assert matte.image.pixels.shape == (*shape, 4)
        assert np.isfinite(matte.alpha).all()


def test_a_large_picture_is_cut_at_its_full_size(matter: Matter) -> None:
    scene = make_scene(3, "flat", 1200)
    matte = matter.matte(Image(scene.picture))
    assert _iou(matte.alpha, scene.alpha) > 0.99
    assert np.abs(matte.alpha - scene.alpha).mean() < 0.001
