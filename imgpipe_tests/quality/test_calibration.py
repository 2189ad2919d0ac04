from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest

from imgpipe.errors import ConfigError
from imgpipe.metrics import LIMITS
from imgpipe.quality.calibration import Calibration, calibrate, text_histogram
from imgpipe.quality.profiles import thresholds_for
from imgpipe.settings import QualitySettings

IN_FORCE = thresholds_for("realesrgan", QualitySettings())


def images(count: int, seed: int = 0) -> list[dict[str, float]]:
    """Scores as a good network makes them; the local shift follows the mean one."""
    rng = np.random.default_rng(seed)
    return [
        {
            "psnr_y": float(rng.normal(33, 2)),
            "ssim_y_half": float(1 - rng.gamma(4, 0.002)),
            "color_shift_255": float(rng.gamma(3, 0.02)),
            "detail_ratio": float(rng.normal(1.3, 0.1)),
            "lines_coherence": 0.0,
            "matte_foreground": float(rng.uniform(0.2, 0.6)),
        }
        for _ in range(count)
    ]


def proposed(found: Calibration) -> dict[str, float]:
    return {one.name: one.proposed for one in found.proposals}


@pytest.mark.parametrize(("count", "rate"), [(40, 0.01), (200, 0.02), (5000, 0.02)])
def test_the_target_rate_is_kept_on_other_images_of_the_same_kind(count: int, rate: float) -> None:
    found = calibrate(images(count), IN_FORCE, reject_rate=rate)
    assert found.rejected_then <= max(2, 2 * rate * count)
    limits = {name: (IN_FORCE[name].direction, value) for name, value in proposed(found).items()}
    others = images(20_000, seed=9)
    rejected = np.zeros(len(others), bool)
    for one in found.proposals:
        values = np.array([image.get(one.metric, np.nan) for image in others])
        direction, value = limits[one.name]
        rejected |= values < value if direction == "min" else values > value
    assert rejected.mean() < 2 * rate, rejected.mean()
    if count == 5000:
        assert rejected.mean() > rate / 3, rejected.mean()


def test_with_many_images_the_quantile_counts_and_with_few_the_tail() -> None:
    many = {one.name: one for one in calibrate(images(5000), IN_FORCE, reject_rate=0.05).proposals}
    few = {one.name: one for one in calibrate(images(60), IN_FORCE, reject_rate=0.05).proposals}
    assert many["psnr_y_min_db"].method == "quantile"
    assert few["psnr_y_min_db"].method == "tail"
    # Five checks that reject were measured with a spread or not: psnr, half size, shift, two of detail,
    # coherence, and the subject's two bounds.
    share = 1 - 0.95 ** (1 / 8)
    expected = 33 + 2 * NormalDist().inv_cdf(share)
    assert many["psnr_y_min_db"].proposed == pytest.approx(expected, abs=0.35)
    assert few["psnr_y_min_db"].proposed == pytest.approx(expected, abs=3.0)


def test_damaged_images_hardly_move_the_tail() -> None:
    good = images(100)
    bad = [{**image, "psnr_y": 12.0, "color_shift_255": 40.0} for image in images(4, seed=5)]
    clean = proposed(calibrate(good, IN_FORCE))
    mixed = calibrate(good + bad, IN_FORCE)
    values = proposed(mixed)
    assert values["psnr_y_min_db"] == pytest.approx(clean["psnr_y_min_db"], abs=2.5)
    assert values["color_shift_255_max"] < 0.5
    assert mixed.rejected_then >= 4


def test_what_has_no_spread_or_is_no_distribution_is_kept() -> None:
    found = {one.name: one for one in calibrate(images(100), IN_FORCE).proposals}
    for name in ("lines_coherence_max", "foreground_min", "foreground_max", "worst_window_min"):
        assert found[name].method == "kept", name
        assert found[name].proposed == found[name].current == IN_FORCE[name].value
    assert found["worst_window_min"].measured == 0
    assert set(found) == set(IN_FORCE)


def test_proposals_are_settings() -> None:
    found = calibrate(images(300), IN_FORCE)
    values = found.thresholds()
    assert values
    for name, value in values.items():
        assert LIMITS[name].lowest <= value <= LIMITS[name].highest
    assert dict(QualitySettings(thresholds=values).thresholds) == values


def test_counts_of_failures_are_those_of_the_thresholds() -> None:
    scores = images(100)
    strict = thresholds_for("classical", QualitySettings(thresholds={"psnr_y_min_db": 33}))
    found = calibrate(scores, strict)
    one = next(p for p in found.proposals if p.name == "psnr_y_min_db")
    assert one.fail_now == sum(image["psnr_y"] < 33 for image in scores)
    assert one.fail_then == sum(image["psnr_y"] < one.proposed for image in scores)
    assert found.rejected_now >= one.fail_now > found.rejected_then


def test_too_few_images_and_impossible_rates_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least 20 scored images, got 19"):
        calibrate(images(19), IN_FORCE)
    for rate in (0.0, 1.0, -0.1):
        with pytest.raises(ConfigError, match="between 0 and 1"):
            calibrate(images(30), IN_FORCE, reject_rate=rate)


def test_text_histogram_shows_counts_and_lines() -> None:
    bars, marks = text_histogram(np.array([1.0] * 90 + [2.0] * 10), {"N": 0.0, "P": 2.5}, width=50)
    assert len(bars) == len(marks) == 50
    assert (bars[20], bars[40]) == ("█", "▃")
    assert bars.count(" ") == 48
    assert (marks.index("N"), marks.index("P")) == (0, 49)
    assert text_histogram(np.array([3.0, 3.0]), {"N": 3.0})[0].count("█") == 1
