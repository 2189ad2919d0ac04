from __future__ import annotations

import numpy as np
import pytest

from imgpipe.images.colour import luma
from imgpipe.quality.gmsd import T, gmsd
from imgpipe_tests.opencv_files import present
from imgpipe_tests.quality.defects import DEFECTS, damaged_luma, plant
from imgpipe_tests.quality.drawings import draw


@pytest.mark.parametrize("name", sorted(DEFECTS))
def test_equals_piq(name: str) -> None:
    """piq's definition is the paper's too: 2x2 means, Prewitt / 3, zeros outside, T = 170."""
    piq = pytest.importorskip("piq")
    torch = pytest.importorskip("torch")
    a, b = damaged_luma(name)
    tensors = [torch.from_numpy(plane.astype(np.float64))[None, None] for plane in (a, b)]
    assert gmsd(a, b) == pytest.approx(piq.gmsd(*tensors, data_range=255.0).item(), abs=2e-6)


def test_the_definition_written_down() -> None:
    """One bright pixel of the averaged picture against none: its Prewitt ring by hand."""
    a = np.full((20, 20), 60, np.float32)
    b = a.copy()
    b[10:12, 10:12] += 30  # one pixel after averaging, at (5, 5)
    blank = np.zeros((10, 10))
    blank[...] = 60
    bright = blank.copy()
    bright[5, 5] += 30

    def magnitude(plane: np.ndarray) -> np.ndarray:
        p = np.pad(plane, 1)
        gx = sum(p[r : r + 10, 0:10] - p[r : r + 10, 2:12] for r in range(3)) / 3
        gy = sum(p[0:10, c : c + 10] - p[2:12, c : c + 10] for c in range(3)) / 3
        return np.hypot(gx, gy)

    ma, mb = magnitude(blank), magnitude(bright)
    similarity = (2 * ma * mb + T) / (ma**2 + mb**2 + T)
    assert gmsd(a, b) == pytest.approx(float(similarity.std()), abs=1e-7)


def test_identities() -> None:
    a, b = damaged_luma("blur")
    assert gmsd(a, a.copy()) == 0.0
    assert gmsd(a, b) == pytest.approx(gmsd(b, a), abs=1e-7)
    values = []
    for level in range(3):
        damaged = plant("blurred_patch", draw(5, 96, 72, 4), level)
        assert damaged is not None
        values.append(present(gmsd(a, luma(damaged.astype(np.float32)))))
    assert values == sorted(values), values


def test_weights_select_pixels() -> None:
    a, b = damaged_luma("noise")
    weight = np.zeros_like(a)
    weight[:, a.shape[1] // 2 :] = 1.0
    half = a.shape[1] // 2
    expected = gmsd(a[:, half:], b[:, half:])
    assert gmsd(a, b, weight) == pytest.approx(expected, rel=0.02)  # the gradient at the cut differs
    assert gmsd(a, b, np.ones_like(a)) == pytest.approx(gmsd(a, b), abs=1e-6)
    assert gmsd(a, b, np.zeros_like(a)) is None


def test_small_pictures_have_none_and_shapes_must_agree() -> None:
    assert gmsd(np.zeros((5, 40), np.float32), np.zeros((5, 40), np.float32)) is None
    with pytest.raises(ValueError, match="one shape"):
        gmsd(np.zeros((8, 8), np.float32), np.zeros((8, 9), np.float32))
