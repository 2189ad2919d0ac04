from __future__ import annotations

import cv2
import numpy as np

from imgpipe.quality.overshoot import overshoot
from imgpipe_tests.quality.drawings import F32


def bar() -> F32:
    plane = np.full((64, 64), 180, np.float32)
    plane[:, 24:40] = 80
    return plane


def test_a_halo_on_both_sides_counts() -> None:
    sharp = bar()
    sharp[:, [23, 40]] += 20
    sharp[:, [24, 39]] -= 20
    # Of 5x5 px windows 8 columns see an edge, two of which are brighter and two darker.
    assert overshoot(bar(), sharp) == 2 / 8


def test_a_darker_line_alone_does_not() -> None:
    darker = bar()
    darker[:, 24:40] = 40
    assert overshoot(bar(), darker) == 0.0
    assert overshoot(bar(), np.asarray(cv2.GaussianBlur(bar(), (0, 0), 1.0), np.float32)) == 0.0


def test_without_edges_it_is_not_measured() -> None:
    assert overshoot(np.zeros((40, 40), np.float32), np.ones((40, 40), np.float32)) is None
