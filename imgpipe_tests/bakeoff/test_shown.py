from __future__ import annotations

import base64

import cv2
import numpy as np
import pytest

from imgpipe.bakeoff.shown import Box, most_different, part, small, whole
from imgpipe.images.image import Image


def _pixels(address: str) -> np.ndarray:
    kind, _, text = address.partition(",")
    assert kind == "data:image/webp;base64"
    found = cv2.imdecode(np.frombuffer(base64.b64decode(text), np.uint8), cv2.IMREAD_UNCHANGED)
    assert found is not None
    return found[..., [2, 1, 0, *range(3, found.shape[2])]]


def test_a_picture_keeps_colours_and_alpha_at_a_smaller_size() -> None:
    pixels = np.zeros((900, 1440, 4), np.uint16)
    pixels[..., 0], pixels[:, :720, 3] = 65535, 65535  # red, whose right half is transparent
    shown = _pixels(whole(Image(pixels)))
    assert shown.shape == (450, 720, 4)
    assert (shown[:, :355, 3] == 255).all()
    assert (shown[:, 365:, 3] == 0).all()
    assert np.abs(shown[:, :350, :3].astype(int) - (255, 0, 0)).max() <= 3


def test_the_part_is_where_results_of_two_sizes_differ() -> None:
    one = np.full((1000, 1500, 3), 90, np.uint8)
    other = np.full((500, 750, 3), 90, np.uint8)
    other[400:440, 600:660] = 250
    first = small(Image(one))
    box = most_different([first, small(Image(other), first.shape[1::-1])], 1500, 1000)
    assert (box.width * 1500, box.height * 1000) == pytest.approx((360, 360))
    assert box.left <= 600 / 750 <= 660 / 750 <= box.left + box.width
    assert box.top <= 400 / 500 <= 440 / 500 <= box.top + box.height
    cut = _pixels(part(Image(other), box))
    assert cut.shape[:2] == (180, 180)
    assert (cut > 240).any()


def test_the_part_lies_inside_the_picture_however_small_it_is() -> None:
    seen = [np.zeros((3, 4, 4), np.float32), np.ones((3, 4, 4), np.float32)]
    assert most_different(seen, 4, 3) == Box(0, 0, 1, 1)
    assert _pixels(part(Image(np.zeros((3, 4, 3), np.uint8)), Box(0, 0, 1, 1))).shape == (3, 4, 3)
