"""Exact coverage and straight colours of what is painted."""

from __future__ import annotations

import numpy as np
import pytest

from training.samples.canvas import Canvas, ellipse, lock, smooth

RED = (200, 40, 30)


def test_an_aligned_square_is_covered_exactly() -> None:
    canvas = Canvas(12, 10)
    canvas.fill([(2, 3), (8, 3), (8, 7), (2, 7)], RED)
    colour, coverage = canvas.reduce()
    expected = np.zeros((10, 12))
    expected[3:7, 2:8] = 255
    # cv2 paints the border's own sub-pixels too: half a sub-pixel, 1/8 px, on each side.
    assert np.abs(coverage - expected).max() <= 255 / 4 + 1
    assert (coverage[3:7, 2:8] == 255).all()
    assert (colour[coverage > 0] == RED).all()
    assert (colour[coverage == 0] == 0).all()


def test_area_of_a_circle() -> None:
    canvas = Canvas(100, 100)
    canvas.fill(ellipse((50.3, 49.8), 37.0, 37.0, steps=400), RED)
    _, coverage = canvas.reduce()
    # cv2's filled polygons reach half a sub-pixel beyond their border.
    assert coverage.sum() / 255 == pytest.approx(np.pi * (37.0 + 0.125) ** 2, rel=0.003)
    assert len(np.unique(coverage)) >= 15


def test_a_thin_stroke_covers_its_width_times_its_length() -> None:
    canvas = Canvas(100, 40)
    canvas.stroke([(10.0, 20.3), (90.0, 20.3)], RED, 1.5)
    _, coverage = canvas.reduce()
    assert coverage[:, 20:80].sum() / 255 / 60 == pytest.approx(1.5, abs=0.3)


def test_a_tapered_stroke_is_thinner_at_its_ends() -> None:
    canvas = Canvas(120, 40)
    canvas.stroke(smooth([(10.0, 20.0), (60.0, 20.0), (110.0, 20.0)]), RED, 8.0, taper=(0.1, 0.3))
    _, coverage = canvas.reduce()
    widths = coverage.astype(float).sum(axis=0) / 255
    assert widths[12] < widths[60] / 2
    assert widths[108] < widths[60] / 1.5
    assert widths[60] == pytest.approx(8.0, abs=0.6)


def test_edges_keep_straight_colours() -> None:
    canvas = Canvas(60, 60)
    canvas.fill(ellipse((30, 30), 20.0, 13.0), RED)
    colour, coverage = canvas.reduce()
    soft = (coverage > 0) & (coverage < 255)
    assert soft.sum() > 50
    assert np.abs(colour[soft].astype(int) - RED).max() <= 1


def test_clipping_and_what_lies_outside() -> None:
    canvas = Canvas(40, 40)
    canvas.fill(
        [(-50, -50), (200, -50), (200, 200), (-50, 200)], RED, clip=canvas.mask(ellipse((20, 20), 8, 8))
    )
    canvas.fill([(100, 100), (120, 100), (110, 130)], RED)
    _, coverage = canvas.reduce()
    assert coverage[20, 20] == 255
    assert coverage[0, 0] == 0
    assert coverage.sum() / 255 == pytest.approx(np.pi * 64, rel=0.06)


def test_a_gradient_runs_from_top_to_bottom() -> None:
    canvas = Canvas(10, 50)
    canvas.fill([(0, 0), (10, 0), (10, 50), (0, 50)], (0, 0, 0), (250, 100, 50))
    colour, _ = canvas.reduce()
    assert (np.diff(colour[:, 5, 0].astype(int)) >= 0).all()
    assert colour[1, 5].max() < 15
    assert colour[48, 5, 0] > 235


def test_smooth_passes_through_its_points() -> None:
    points = [(0.0, 0.0), (3.0, 5.0), (7.0, 2.0), (9.0, 9.0)]
    line = smooth(points, steps=8)
    for point in points:
        assert np.linalg.norm(line - point, axis=1).min() < 1e-12
    ring = smooth(points, closed=True, steps=8)
    assert len(ring) == 32
    assert np.linalg.norm(np.diff(np.vstack([ring, ring[:1]]), axis=0), axis=1).max() < 3.0


def test_a_lock_is_broad_at_its_root_and_pointed() -> None:
    leaf = lock((0.0, 0.0), (0.0, 10.0), 2.0, 0.0)
    half = len(leaf) // 2
    widths = np.linalg.norm(leaf[:half] - leaf[half:][::-1], axis=1)
    assert widths[0] > 1.0
    assert widths[-1] < 1e-9
    assert leaf[half - 1] == pytest.approx([0.0, 10.0])


def test_lettering_leaves_marks() -> None:
    canvas = Canvas(120, 40)
    canvas.text("HELLO", (5.0, 30.0), RED, 20.0, 2.0)
    _, coverage = canvas.reduce()
    rows = np.flatnonzero(coverage.max(axis=1))
    assert 0.02 < coverage.mean() / 255 < 0.6
    assert 15 <= rows[-1] - rows[0] <= 26


def test_other_units_and_the_other_side() -> None:
    canvas = Canvas(60, 60)
    view = canvas.at((30.0, 30.0), 10.0, tilt=90.0)
    mirrored, own = view.sides()
    own.fill([(1, 0), (2, 0), (2, 2), (1, 2)], RED)
    _, coverage = canvas.reduce()
    rows, columns = np.nonzero(coverage == 255)
    # A quarter turn clockwise takes x down and y to the left.
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (40, 49, 10, 29)
    mirrored.fill([(1, 0), (2, 0), (2, 2), (1, 2)], RED)
    _, coverage = canvas.reduce()
    assert (coverage[10:20, 10:30] == 255).all()
    assert coverage.sum() / 255 == pytest.approx(400, rel=0.06)
