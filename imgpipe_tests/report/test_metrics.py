from __future__ import annotations

import pytest

from imgpipe.report.metrics import describe, in_reading_order, is_upper_bound, metric_of


@pytest.mark.parametrize(
    ("check", "metric", "upper"),
    [
        ("psnr_y_min_db", "psnr_y", False),
        ("color_shift_255_max", "color_shift_255", True),
        ("detail_ratio_min", "detail_ratio", False),
        ("subpixel_shift_px_max", "subpixel_shift_px", True),
        ("components_max", "matte_components", True),
        ("soft_band_px_max", "matte_soft_band_px", True),
        ("of_another_version_max", "of_another_version_max", False),
    ],
)
def test_a_check_names_its_score_and_side(check: str, metric: str, upper: bool) -> None:
    assert metric_of(check) == metric
    assert is_upper_bound(check) is upper


def test_an_unknown_score_is_shown_under_its_name() -> None:
    assert describe("brand_new").label == "brand new"
    assert in_reading_order(["zeta", "ssim_y", "alpha", "psnr_y"]) == ["psnr_y", "ssim_y", "alpha", "zeta"]
