"""The table of settings that ``scripts/write_docs.py`` writes into docs/configuration.md."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from imgpipe.config import Settings

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "write_docs.py"
if not SCRIPT.is_file():
    pytest.skip("scripts/ is not part of this installation", allow_module_level=True)

describe_fields = runpy.run_path(str(SCRIPT))["describe_fields"]


def test_every_setting_says_what_it_means() -> None:
    rows = list(describe_fields(Settings))
    assert len(rows) > 30
    assert [key for key, _, _, text in rows if len(text) < 10] == []


def test_names_are_described_with_what_they_may_hold() -> None:
    valid = {key: text for key, text, *_ in describe_fields(Settings)}
    assert valid["quality.thresholds"] == "name: number"
    assert valid["quality.severity"] == "name: `error`, `warn`, `info`"
