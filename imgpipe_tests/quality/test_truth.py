from __future__ import annotations

import math

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from imgpipe.errors import ConfigError
from imgpipe.images.image import Image
from imgpipe.metrics.truth import TRUTH
from imgpipe.quality.truth import alpha_of, enlargement_truth, matte_truth


def _noisy_pair() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 256, (40, 50, 3), np.uint8)
    return truth, np.clip(truth.astype(int) + rng.integers(-20, 21, truth.shape), 0, 255).astype(np.uint8)


def test_an_enlargement_is_scored_as_scikit_image_scores_it() -> None:
    truth, result = _noisy_pair()
    found = enlargement_truth(Image(truth), Image(result))
    assert list(found) == [metric.name for metric in TRUTH["upscale"]]
    gauss = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    planes = [pixels @ np.array([0.299, 0.587, 0.114]) for pixels in (truth, result)]
    assert found["psnr"] == pytest.approx(peak_signal_noise_ratio(truth, result), abs=1e-4)
    assert found["psnr_y"] == pytest.approx(peak_signal_noise_ratio(*planes, data_range=255), abs=1e-3)
    assert found["ssim"] == pytest.approx(
        structural_similarity(truth, result, channel_axis=2, **gauss), abs=1e-4
    )
    assert found["ssim_y"] == pytest.approx(structural_similarity(*planes, **gauss), abs=1e-4)


def test_equal_pictures_and_tiny_ones() -> None:
    truth, _ = _noisy_pair()
    equal = enlargement_truth(Image(truth), Image(truth.copy()))
    assert equal == {"psnr": math.inf, "ssim": 1.0, "psnr_y": math.inf, "ssim_y": 1.0}
    tiny = enlargement_truth(Image(truth[:10]), Image(truth[:10] // 2))
    assert (tiny["ssim"], tiny["ssim_y"]) == (None, None)


def test_a_truth_of_another_size_is_refused() -> None:
    truth, result = _noisy_pair()
    with pytest.raises(ConfigError, match="50x40 px, got 50x39 px"):
        enlargement_truth(Image(truth[:39].copy()), Image(result))


def test_a_matte_gets_every_metric_of_the_table() -> None:
    alpha = np.zeros((30, 30), np.float32)
    alpha[8:20, 8:20] = 1
    assert set(matte_truth(alpha, alpha)) == {metric.name for metric in TRUTH["rembg"]}


def test_a_matte_is_a_pictures_alpha_or_its_grey() -> None:
    grey = np.full((4, 5, 1), 51, np.uint8)
    assert alpha_of(Image(grey), "a").max() == pytest.approx(0.2)
    assert alpha_of(Image(np.repeat(grey, 3, axis=2)), "a").max() == pytest.approx(0.2)
    cut = np.dstack([np.repeat(grey, 3, axis=2), np.full((4, 5), 255, np.uint8)])
    assert alpha_of(Image(cut), "a").min() == 1
    coloured = np.repeat(grey, 3, axis=2)
    coloured[0, 0, 0] = 7
    with pytest.raises(ConfigError, match=r"a\.png: expected a picture with alpha or a grey mask"):
        alpha_of(Image(coloured), "a.png")
