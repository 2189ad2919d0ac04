from __future__ import annotations

from pathlib import Path

import pytest

from imgpipe.quality.metrics import METRICS, worse
from imgpipe.quality.profiles import PROFILES, RULES
from imgpipe.settings import THRESHOLD_RANGES

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "quality.md"


def test_every_metric_and_threshold_is_documented() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    missing = [name for name in (*METRICS, *RULES) if f"`{name}`" not in text]
    assert not missing


def test_documented_thresholds_are_those_in_force() -> None:
    rows = [
        [cell.strip() for cell in line.strip("|\n ").split("|")]
        for line in DOCUMENT.read_text(encoding="utf-8").splitlines()
        if line.startswith("| `")
    ]
    table = {row[0].strip("`"): row for row in rows if row[0].strip("`") in RULES}
    assert set(table) == set(RULES)
    for name, row in table.items():
        shown = (float(row[1]), float(row[2]), row[3])
        expected = (PROFILES["classical"][name], PROFILES["realesrgan"][name], RULES[name].severity.value)
        assert shown == expected, name


def test_rules_cover_the_configurable_thresholds_and_known_metrics() -> None:
    assert set(RULES) == set(THRESHOLD_RANGES)
    for profile in PROFILES.values():
        assert set(profile) == set(RULES)
        for name, value in profile.items():
            low, high = THRESHOLD_RANGES[name]
            assert low <= value <= high
    assert {rule.metric for rule in RULES.values()} <= set(METRICS)


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
    assert worse(name, first, second) == expected
    assert worse(name, second, first) == expected
