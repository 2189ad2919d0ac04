"""Networks that are loaded ahead."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from imgpipe.config import load_settings
from imgpipe.errors import WeightsMissing
from imgpipe.stages.build import build_stage, warm_up
from imgpipe.stages.chain import steps
from imgpipe.stages.upscale import UpscaleStage


def waited() -> None:
    for thread in threading.enumerate():
        if thread.name == "imgpipe-warm-up":
            thread.join(30)


def test_the_network_is_there_when_the_stage_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[str] = []

    def build(*_: Any, **__: Any) -> str:
        built.append(threading.current_thread().name)
        return "loaded"

    monkeypatch.setattr("imgpipe.upscaling.build.build_upscaler", build)
    settings = load_settings({"actions": ["upscale"], "upscale.model": "lanczos", "upscale.scale": 1.25})
    warm_up(settings)
    waited()
    stage = next(
        stage
        for stage in (build_stage(step, settings) for step in steps(settings))
        if isinstance(stage, UpscaleStage)
    )
    assert stage.load() == "loaded"  # type: ignore[comparison-overlap]
    assert built == ["imgpipe-warm-up"]


def test_what_cannot_be_loaded_ahead_is_told_by_the_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(*_: Any, **__: Any) -> None:
        raise WeightsMissing("no such file")

    monkeypatch.setattr("imgpipe.upscaling.build.build_upscaler", build)
    settings = load_settings({"actions": ["upscale"], "upscale.model": "lanczos", "upscale.scale": 1.5})
    warm_up(settings)
    waited()
    stage = build_stage(steps(settings)[1], settings)
    assert isinstance(stage, UpscaleStage)
    with pytest.raises(WeightsMissing, match="no such file"):
        stage.load()
