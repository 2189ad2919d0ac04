import numpy as np
import pytest

from imgpipe.fixing.clean_network import strength_of
from training.degrade import CLEAN_SHARE, add_noise, compress, damage, degrade, quality_of, reduce


@pytest.fixture(scope="module")
def gradient() -> np.ndarray:
    ramp = np.linspace(0, 255, 64)
    return np.stack(np.broadcast_arrays(ramp, ramp[:, None], 128.0), axis=-1).astype(np.uint8)


@pytest.mark.parametrize("scale", [2, 4])
def test_reducing_keeps_the_mean_colour(gradient: np.ndarray, scale: int) -> None:
    for seed in range(12):
        small = reduce(gradient, scale, np.random.default_rng(seed))
        assert small.shape == (64 // scale, 64 // scale, 3)
        assert np.abs(small.mean((0, 1)) - gradient.mean((0, 1))).max() < 0.6


def test_more_than_half_are_only_reduced() -> None:
    """A constant picture stays constant through every filter, and through nothing else."""
    flat = np.full((32, 32, 3), (90, 160, 33), np.uint8)
    smalls = [degrade(flat, 4, np.random.default_rng(seed)) for seed in range(100)]
    clean = [np.array_equal(small, flat[:8, :8]) for small in smalls]
    assert CLEAN_SHARE - 0.15 < np.mean(clean) < CLEAN_SHARE + 0.25


def test_noise_has_the_strength_asked_for() -> None:
    grey = np.full((64, 64, 3), 128, np.uint8)
    noisy = add_noise(grey, 3.0, np.random.default_rng(0))
    assert abs(float(noisy.std()) - 3.0) < 0.2


def test_compression_changes_little(gradient: np.ndarray) -> None:
    for seed in range(8):
        error = np.abs(compress(gradient, np.random.default_rng(seed)).astype(int) - gradient)
        assert 0 < error.mean() < 4


def test_damage_is_as_strong_as_it_says_and_leaves_some_pictures_alone(gradient: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    pairs = [damage(gradient, rng) for _ in range(120)]
    assert {each.shape for each, _ in pairs} == {gradient.shape}
    errors = np.array([np.abs(each.astype(int) - gradient).mean() for each, _ in pairs])
    strengths = np.array([strength for _, strength in pairs])
    assert 0.02 < np.mean(errors == 0) < 0.25
    assert strengths[errors == 0].max() <= 0.4
    weak, strong = errors[(strengths < 0.45) & (errors > 0)], errors[strengths > 0.7]
    assert weak.mean() < 0.8 * strong.mean()


@pytest.mark.parametrize("quality", [20, 30, 50, 85, 95])
def test_strength_and_quality_are_one_another(quality: int) -> None:
    assert quality_of(strength_of(quality)) == quality
