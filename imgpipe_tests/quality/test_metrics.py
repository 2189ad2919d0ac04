from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from imgpipe.metrics import LIMITS, METRICS, PROFILES, limits_by_check
from imgpipe.metrics.table import ROWS

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "quality.md"


def test_generated_documents_are_up_to_date() -> None:
    script = DOCUMENT.parents[1] / "scripts" / "write_docs.py"
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_profiles_keep_to_what_may_be_configured() -> None:
    for name, limit in LIMITS.items():
        for profile in PROFILES:
            assert limit.lowest <= limit.default(profile) <= limit.highest, (name, profile)


def test_every_threshold_belongs_to_one_check() -> None:
    names = [name for group in limits_by_check().values() for name in group]
    assert sorted(names) == sorted(LIMITS)


def test_no_name_stands_twice() -> None:
    assert len(METRICS) == len(ROWS)
    assert len(LIMITS) == sum(len(metric.limits) for metric in ROWS)


def test_messages_say_the_value_and_the_bound() -> None:
    assert LIMITS["ssim_y_min"].message(0.5, 0.93) == "structure differs: SSIM 0.500, at least 0.930 needed"
    lost = LIMITS["edge_pixel_loss_max"].message(0.1234, 0.035)
    assert lost == "12.3% of the strong edges are lost, allowed 3.5%"


@pytest.mark.parametrize(
    ("name", "first", "second", "expected"),
    [
        ("psnr", 30.0, 40.0, 30.0),
        ("color_shift_255", 1.0, 2.0, 2.0),
        ("detail_ratio", 0.5, 1.5, 0.5),
        ("detail_ratio", 0.9, 1.5, 1.5),
        ("detail_ratio", 0.0, 9.0, 0.0),
    ],
)
def test_the_worse_value(name: str, first: float, second: float, expected: float) -> None:
    assert METRICS[name].worse(first, second) == expected
    assert METRICS[name].worse(second, first) == expected
