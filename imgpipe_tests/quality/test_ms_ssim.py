from __future__ import annotations

import numpy as np
import pytest

from imgpipe.quality.ms_ssim import WEIGHTS, ms_ssim
from imgpipe.quality.ssim import similarity_means
from imgpipe_tests.opencv_files import present
from imgpipe_tests.quality.defects import DEFECTS, damaged_luma


@pytest.mark.parametrize("name", sorted(DEFECTS))
def test_equals_piq(name: str) -> None:
    piq = pytest.importorskip("piq")
    torch = pytest.importorskip("torch")
    a, b = damaged_luma(name)
    tensors = [torch.from_numpy(plane.astype(np.float64))[None, None] for plane in (a, b)]
    truth = piq.multi_scale_ssim(*tensors, data_range=255.0).item()
    assert ms_ssim(a, b) == pytest.approx(truth, abs=1e-5)


def test_a_constant_offset_has_a_closed_form() -> None:
    """Contrast and structure stay 1, and two flat pictures leave luminance alone, once, to its weight."""
    a = np.full((176, 200), 100, np.float32)
    c1 = (0.01 * 255) ** 2
    luminance = (2 * 100 * 120 + c1) / (100**2 + 120**2 + c1)
    assert ms_ssim(a, a + 20) == pytest.approx(luminance ** WEIGHTS[-1], abs=1e-6)


def test_identities() -> None:
    a, b = damaged_luma("halo")
    assert ms_ssim(a, a.copy()) == 1.0
    assert ms_ssim(a, b) == pytest.approx(ms_ssim(b, a), abs=1e-6)
    assert ms_ssim(a, b, np.ones_like(a)) == pytest.approx(ms_ssim(a, b), abs=1e-6)
    assert ms_ssim(a, b, np.zeros_like(a)) is None
    assert present(ms_ssim(a, 255 - a)) >= 0.0  # an inverted picture has negative structure


def test_what_is_known_of_the_finest_scale_is_not_measured_again() -> None:
    a, b = damaged_luma("jpeg")
    known = similarity_means(a, b)
    assert known is not None
    assert ms_ssim(a, b, finest=known) == ms_ssim(a, b)
    assert ms_ssim(a, b, finest=(1.0, 0.0)) == 0.0


def test_pictures_without_room_for_five_scales_have_none() -> None:
    a = np.zeros((175, 400), np.float32)
    assert ms_ssim(a, a) is None
    assert ms_ssim(np.pad(a, ((0, 1), (0, 0))), np.pad(a, ((0, 1), (0, 0)))) == 1.0
