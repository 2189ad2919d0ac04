"""How many pictures at once an upscaler is given."""

from __future__ import annotations

from pathlib import Path

import pytest

from imgpipe.host import usable_cores
from imgpipe.settings import UpscaleSettings
from imgpipe.stages import upscale
from imgpipe.stages.upscale import UpscaleStage


@pytest.mark.parametrize(
    ("model", "device", "expected"),
    [
        ("lanczos", "cuda", usable_cores()),
        ("realesr-animevideov3", "cpu", 1),
        ("realesr-animevideov3", "cuda", 32),
    ],
)
def test_a_gpu_has_pictures_to_go_on_with(
    model: str, device: str, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upscale, "resolve_device", lambda setting: device)
    assert UpscaleStage(UpscaleSettings(model=model), Path(), "auto", 1).concurrency == expected
