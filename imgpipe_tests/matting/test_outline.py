import cv2
import numpy as np
import pytest

from imgpipe.matting.border import to_lab
from imgpipe.matting.outline import outline_of

SKY, SKIN, LINE, CLOUD = (150, 205, 245), (250, 215, 190), (60, 30, 40), (255, 255, 255)


def _figure(
    *, line: bool = True, cloud: bool = False, sky: tuple[int, int, int] = SKY
) -> tuple[np.ndarray, np.ndarray]:
    picture = np.full((400, 400, 3), sky, np.uint8)
    mask = np.zeros((400, 400), np.uint8)
    if cloud:
        for canvas, colour in ((picture, CLOUD), (mask, 1)):
            cv2.ellipse(canvas, (290, 150), (80, 40), 0, 0, 360, colour, -1)
    for canvas, colour in ((picture, SKIN), (mask, 1)):
        cv2.circle(canvas, (180, 200), 90, colour, -1)
    if line:
        cv2.circle(picture, (180, 200), 89, LINE, 3)
    return mask > 0, to_lab(picture)


def test_a_closed_line_is_seen() -> None:
    outline = outline_of(*_figure())
    assert outline.lined > 0.95
    assert outline.unlined < 0.02


def test_a_cloud_that_hangs_on_the_figure_is_seen() -> None:
    outline = outline_of(*_figure(cloud=True))
    assert outline.lined > 0.4
    assert 0.15 < outline.unlined < 0.6


def test_a_figure_without_lines_is_told() -> None:
    outline = outline_of(*_figure(line=False))
    assert outline.lined < 0.02
    assert outline.unlined > 0.95


def test_dark_surroundings_say_nothing() -> None:
    outline = outline_of(*_figure(sky=(20, 20, 40)))
    assert outline.lined + outline.unlined < 0.02


@pytest.mark.parametrize("filled", [False, True])
def test_without_a_contour_there_is_nothing_to_say(filled: bool) -> None:
    outline = outline_of(np.full((20, 30), filled), np.full((20, 30, 3), 70, np.float32))
    assert (outline.lined, outline.unlined) == (0.0, 0.0)
