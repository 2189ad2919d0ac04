"""The drawings, made once."""

from __future__ import annotations

import pytest

from training.samples.drawings import Drawing, draw_samples


@pytest.fixture(scope="session")
def drawings() -> list[Drawing]:
    return draw_samples()
