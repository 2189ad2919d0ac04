"""How many pictures at once an upscaler is given."""

from __future__ import annotations

import os

import pytest

from imgpipe.config import load_settings
from imgpipe.stages import upscale
from imgpipe.stages.upscale import UpscaleStage


@pytest.mark.parametrize(
    ("model", "device", "expected"),
    [
        ("lanczos", "cuda", os.cpu_count()),
        ("realesr-animevideov3", "cpu", 1),
        ("realesr-animevideov3", "cuda", 4),
    ],
)
def test_a_gpu_has_pictures_to_go_on_with(
    model: str, device: str, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upscale, "resolve_device", lambda setting: device)
    assert UpscaleStage(load_settings({"upscale.model": model})).concurrency == expected
