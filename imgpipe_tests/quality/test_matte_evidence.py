"""Mattes with exact truth pass; each kind of damage is seen by the evidence that is made for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest

from imgpipe.images.image import Image
from imgpipe.metrics import LIMITS, METRICS
from imgpipe.quality.matte_evidence import matte_evidence
from imgpipe.quality.score import MatteEvidence, score
from imgpipe.records import Status
from imgpipe.settings import QualitySettings

HEIGHT, WIDTH = 240, 320
Plane = np.ndarray[Any, Any]
Alter = Callable[[Plane], Plane]


def figure(background: Plane | None = None) -> tuple[Plane, Plane]:
    """(RGB uint8, alpha 0..1): an outlined disc with lines on it, antialiased, over a ramp."""
    fine = 4
    mask = np.zeros((HEIGHT * fine, WIDTH * fine), np.uint8)
    cv2.circle(mask, (160 * fine, 130 * fine), 80 * fine, 255, -1)
    own = np.full((HEIGHT * fine, WIDTH * fine, 3), (220, 120, 90), np.uint8)
    for row in range(70, 200, 26):
        cv2.line(own, (110 * fine, row * fine), (210 * fine, row * fine), (30, 20, 40), 3 * fine)
    cv2.circle(own, (160 * fine, 130 * fine), 79 * fine, (30, 20, 40), 3 * fine)
    size = (WIDTH, HEIGHT)
    alpha = cv2.resize(mask, size, interpolation=cv2.INTER_AREA).astype(np.float64) / 255
    colour = cv2.resize(own, size, interpolation=cv2.INTER_AREA).astype(np.float64)
    if background is None:
        background = np.linspace(120, 230, HEIGHT)[:, None, None] * np.array([0.8, 0.9, 1.0])
    mixed = alpha[..., None] * colour + (1 - alpha[..., None]) * background
    return np.rint(mixed).astype(np.uint8), alpha


def cutout_of(picture: Plane, alpha: Plane) -> Image:
    return Image(np.dstack([picture, np.rint(alpha * 255).clip(0, 255).astype(np.uint8)]))


def disc(x: int, y: int, radius: int) -> Plane:
    plane = np.zeros((HEIGHT, WIDTH), np.float32)
    return np.asarray(cv2.circle(plane, (x, y), radius, 1.0, -1, cv2.LINE_AA))


def rows_removed(alpha: Plane) -> Plane:
    cut = alpha.copy()
    cut[165:] = 0
    return cut


DAMAGE: dict[str, Alter] = {
    "hollow": lambda alpha: alpha * (1 - 0.3 * disc(160, 130, 45)),
    "halo": lambda alpha: cv2.dilate(alpha, np.ones((7, 7), np.uint8)),
    "blind_border": lambda alpha: np.maximum(alpha, disc(60, 60, 30)),
    "false_border": lambda alpha: alpha * (1 - disc(160, 136, 11)),
    "cut": rows_removed,
    "lost": lambda alpha: alpha * (1 - disc(160, 130, 12)),
    "detail": lambda alpha: 1 - alpha,
    "leftover": lambda alpha: np.maximum(alpha, disc(60, 60, 30)),
    "frame_background": lambda alpha: 1 - alpha,
    "unfollowed": lambda alpha: np.maximum(alpha, np.linspace(0.02, 0.8, WIDTH)[None, :]),
    "faint_frame": lambda alpha: np.maximum(alpha, 0.1),
}


def limit_of(name: str) -> tuple[str, float]:
    (limit,) = METRICS[f"matte_{name}"].limits
    return limit.direction, LIMITS[limit.name].classical


def misses(name: str, value: float) -> bool:
    direction, limit = limit_of(name)
    return value < limit if direction == "min" else value > limit


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_seen_and_the_exact_matte_passes(name: str) -> None:
    picture, alpha = figure()
    clean, _ = matte_evidence(Image(picture), cutout_of(picture, alpha))
    assert name not in clean or not misses(name, clean[name])
    damaged, _ = matte_evidence(Image(picture), cutout_of(picture, DAMAGE[name](alpha)))
    assert misses(name, damaged[name])


def test_the_place_of_a_hole_is_told_in_px_of_the_source() -> None:
    """A picture larger than the working size."""
    picture, alpha = (
        np.asarray(cv2.resize(plane, (1280, 960), interpolation=cv2.INTER_CUBIC)) for plane in figure()
    )
    holed = alpha * (1 - cv2.resize(disc(160, 136, 11), (1280, 960)))
    _, boxes = matte_evidence(Image(picture.astype(np.uint8)), cutout_of(picture, holed))
    (place,) = [box for box in boxes if box.kind == "false_border"]
    assert (place.x, place.y) == pytest.approx((149 * 4, 125 * 4), abs=12)
    assert (place.width, place.height) == pytest.approx((22 * 4, 22 * 4), abs=24)


@pytest.mark.parametrize("stripes", [False, True])
def test_a_true_veil_passes_over_plain_and_over_striped_ground(stripes: bool) -> None:
    """The stripes seen through it are the background's; an opaque body of the same alpha is hollow."""
    ramp = np.linspace(120, 230, HEIGHT)[:, None, None] * np.array([0.8, 0.9, 1.0])
    bars = np.where((np.arange(WIDTH) // 16 % 2)[None, :, None] > 0, 90.0, 210.0)
    behind = np.broadcast_to(bars if stripes else ramp, (HEIGHT, WIDTH, 3))
    picture, alpha = figure(behind)
    veil = cv2.GaussianBlur(disc(90, 120, 70), (0, 0), 1.5) * 0.4 * (1 - alpha)
    picture = np.rint(picture * (1 - veil[..., None]) + veil[..., None] * np.array([250, 240, 255]))
    image, cutout = Image(picture.astype(np.uint8)), cutout_of(picture.astype(np.uint8), alpha + veil)
    facts, _ = matte_evidence(image, cutout)
    assert [name for name, value in facts.items() if misses(name, value)] == []


def test_a_hole_whose_border_follows_drawn_lines_is_lost_and_a_true_gap_is_not() -> None:
    """Between two lines, of the subject's colours; and a gap through which the ramp behind is seen."""
    picture, alpha = figure()
    band = np.zeros_like(alpha)
    band[123:147, 115:205] = 1
    holed, _ = matte_evidence(Image(picture), cutout_of(picture, alpha * (1 - band)))
    assert misses("lost", holed["lost"])
    ground = np.linspace(120, 230, HEIGHT)[:, None, None] * np.array([0.8, 0.9, 1.0])
    gap = disc(160, 130, 25)[..., None]
    through = np.rint(picture * (1 - gap) + ground * gap).astype(np.uint8)
    kept, _ = matte_evidence(Image(through), cutout_of(through, alpha * (1 - gap[..., 0])))
    assert kept["lost"] == 0.0


def test_edges_behind_a_glow_over_nearly_everything_are_the_backgrounds() -> None:
    bars = np.where((np.arange(WIDTH) // 8 % 2)[None, :, None] > 0, 60.0, 200.0)
    picture, alpha = figure(np.broadcast_to(bars, (HEIGHT, WIDTH, 3)))
    away = cv2.distanceTransform((alpha < 0.5).astype(np.uint8), cv2.DIST_L2, 5)
    glow = np.where(alpha < 0.5, np.maximum(alpha, 0.6 * np.exp(-away / 50)), alpha)
    seen = np.rint(picture + (glow - alpha)[..., None] * (np.array([255, 250, 200]) - picture))
    assert np.mean(glow < 0.02) < 0.1
    facts, _ = matte_evidence(Image(seen.astype(np.uint8)), cutout_of(seen.astype(np.uint8), glow))
    assert not misses("hollow", facts["hollow"])


def test_the_sources_own_alpha_may_not_be_lost() -> None:
    picture, alpha = figure()
    source = cutout_of(picture, alpha * (1 - 0.5 * disc(160, 130, 20)))
    kept, _ = matte_evidence(source, source)
    lost, _ = matte_evidence(source, cutout_of(picture, alpha))
    assert kept["regained"] == 0.0
    assert lost["regained"] == pytest.approx(np.pi * 20**2 / (HEIGHT * WIDTH), rel=0.05)


def test_a_transparent_sources_own_border_is_a_border() -> None:
    """White on nothing: the colours alone show no edge."""
    alpha = figure()[1]
    source = cutout_of(np.full((HEIGHT, WIDTH, 3), 255, np.uint8), alpha)
    facts, _ = matte_evidence(source, source)
    assert [name for name, value in facts.items() if misses(name, value)] == []


@pytest.mark.parametrize("shape", [(1, 1), (3, 50), (20, 20)])
@pytest.mark.parametrize("value", [0, 128, 255])
def test_tiny_empty_and_full_mattes_are_measured(shape: tuple[int, int], value: int) -> None:
    picture = np.full((*shape, 3), 90, np.uint8)
    facts, _ = matte_evidence(Image(picture), cutout_of(picture, np.full(shape, value / 255)))
    assert all(np.isfinite(fact) for fact in facts.values())


def test_the_verdict_says_what_is_wrong_and_where() -> None:
    picture, alpha = figure()
    cutout = cutout_of(picture, DAMAGE["hollow"](alpha))
    report = score(cutout, cutout, settings=QualitySettings(), matte=MatteEvidence(Image(picture), cutout))
    assert report.status is Status.REJECTED
    assert any("see-through where it is solid" in reason for reason in report.reasons)
    assert [box for box in report.edges.boxes if box.kind == "hollow"]
    haze = cutout_of(picture, DAMAGE["faint_frame"](alpha))
    report = score(haze, haze, settings=QualitySettings(), matte=MatteEvidence(Image(picture), haze))
    assert any(reason.startswith("warning: a faint haze") for reason in report.reasons)
