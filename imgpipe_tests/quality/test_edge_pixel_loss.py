from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from skimage.filters import sobel_h, sobel_v

from imgpipe.quality.edge_pixel_loss import gradient, matte_edge_loss, picture_edge_loss
from imgpipe.quality.report import EdgeLossReport
from imgpipe_tests.opencv_files import opencv_read, present
from imgpipe_tests.quality.defects import plant
from imgpipe_tests.quality.drawings import area, draw, enlarge

GATE = 0.035


def as_float(pixels: np.ndarray) -> np.ndarray:
    return pixels.astype(np.float32)


def test_gradient_equals_scikit_image() -> None:
    plane = draw(1, 64, 48, 1)[..., :1].repeat(3, axis=2)
    # scikit-image's kernel sums to 1 on each side over a distance of 2 px.
    truth = np.hypot(sobel_h(plane[..., 0].astype(float)), sobel_v(plane[..., 0].astype(float))) / 2
    ours = gradient(as_float(plane))
    assert np.abs(ours - truth)[1:-1, 1:-1].max() < 1e-3


def test_gradient_takes_the_strongest_channel() -> None:
    plane = np.zeros((8, 8, 3), np.float32)
    plane[:, 4:, 2] = 100
    assert gradient(plane).max() == pytest.approx(50)


def test_a_faithful_round_trip_loses_nothing_and_an_erased_part_its_share() -> None:
    source = area(draw(3))
    back = area(enlarge(source))
    assert picture_edge_loss(as_float(source), as_float(back))[0] == 0.0
    strong = gradient(as_float(source)) > 16
    erased = as_float(back)
    erased[40:140, 60:200] = 128
    loss, boxes = picture_edge_loss(as_float(source), erased)
    assert loss == pytest.approx(strong[42:138, 62:198].sum() / strong.sum(), abs=0.05)
    inside = [box for box in boxes if 50 <= box.x <= 200 and 30 <= box.y <= 140]
    assert inside == list(boxes) != []


def test_too_few_edges_are_no_answer() -> None:
    flat = np.full((30, 30, 3), 90, np.float32)
    assert picture_edge_loss(flat, flat) == (None, ())
    assert matte_edge_loss(flat, np.ones((30, 30), np.float32)) == (None, ())
    assert matte_edge_loss(flat, np.zeros((30, 30), np.float32)) == (None, ())
    assert EdgeLossReport().score is None
    assert EdgeLossReport(picture=0.1, matte=0.4).score == 0.4


def figure(background: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """An outlined disc on a plain or noisy ground, and its exact alpha."""
    source = np.full((200, 260, 3), 230, np.float32)
    source += np.random.default_rng(0).normal(0, background, source.shape).astype(np.float32)
    mask = np.zeros((200, 260), np.uint8)
    cv2.circle(mask, (120, 100), 60, 1, -1)
    source[mask > 0] = (200, 120, 90)
    cv2.circle(source, (120, 100), 58, (20, 20, 20), 4)
    return source, mask.astype(np.float32)


@pytest.mark.parametrize("background", [0.0, 8.0])
def test_a_matte_that_cuts_inside_the_outline_is_seen(background: float) -> None:
    source, alpha = figure(background)
    good, boxes = matte_edge_loss(source, alpha)
    assert good is not None
    assert good <= GATE
    assert not boxes
    eroded: Any = cv2.erode(alpha, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (13, 13)))
    bad, boxes = matte_edge_loss(source, eroded)
    assert bad is not None
    assert bad > 2 * GATE
    assert boxes[0].kind == "matte"
    assert (boxes[0].x, boxes[0].y) == pytest.approx((66, 46), abs=1)


def test_the_worst_object_counts() -> None:
    left, alpha = figure()
    both = np.concatenate([left, left], axis=1)
    eroded: Any = cv2.erode(alpha, np.ones((13, 13), np.uint8))
    alone = matte_edge_loss(left, eroded)[0]
    together, boxes = matte_edge_loss(both, np.concatenate([alpha, eroded], axis=1))
    assert alone is not None
    assert together is not None
    assert together > 0.9 * alone > 3 * GATE
    assert len(boxes) == 1
    assert boxes[0].x > 260


def test_the_real_cutout_is_good_and_eroded_is_not(shared: Path) -> None:
    folder = shared / "data" / "anime"
    source = opencv_read(folder / "anime-girl-1.jpg")[..., ::-1].astype(np.float32)
    cutout = opencv_read(folder / "anime-girl-1.isnet-anime.png", cv2.IMREAD_UNCHANGED)
    alpha: Any = cutout[..., 3].astype(np.float32) / 255
    good, _ = matte_edge_loss(source, alpha)
    bad, _ = matte_edge_loss(source, np.asarray(cv2.erode(alpha, np.ones((9, 9), np.uint8))))
    assert good is not None
    assert bad is not None
    assert good < GATE < bad


def test_damage_that_keeps_edges_is_not_counted() -> None:
    source = draw(5, 128, 96, 4)
    for name in ("colour_shift", "gamma"):
        assert present(picture_edge_loss(as_float(source), as_float(present(plant(name, source))))[0]) < 0.001


def test_a_matte_that_is_tight_by_a_pixel_loses_nothing() -> None:
    source, alpha = figure()
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    tight = np.asarray(cv2.erode(alpha, cross), np.float32)
    assert present(matte_edge_loss(source, tight)[0]) <= GATE
