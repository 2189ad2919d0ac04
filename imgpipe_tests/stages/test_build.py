"""Which settings build a stage anew, and models that are loaded ahead."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from imgpipe.config import Settings, changed_settings, load_settings
from imgpipe.errors import ConfigError, WeightsMissing
from imgpipe.settings import LimitSettings
from imgpipe.stages.build import build_stage, warm_up
from imgpipe.stages.catalogue import CATALOGUE
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


def stage_of(action: str, **options: Any) -> Any:
    settings = load_settings({"actions": ["enhance", "rembg", "fix_artifacts", "upscale"], **options})
    step = next(step for step in steps(settings) if step.action.name == action)
    return build_stage(step, settings)


@pytest.mark.parametrize("action", CATALOGUE)
def test_settings_that_a_stage_does_not_read_keep_it(action: str) -> None:
    others = {"automation.report_cron": "5 * * * *", "workers": 3, "source": "x", "assets.owners": ["team:a"]}
    assert stage_of(action, **others) is stage_of(action)


@pytest.mark.parametrize(
    ("action", "option", "rebuilt"),
    [
        ("upscale", {"upscale.scale": 2}, True),
        ("upscale", {"model_dir": "/elsewhere"}, True),
        ("upscale", {"device": "cpu"}, True),
        ("upscale", {"limits.max_output_pixels": 5000}, True),
        ("upscale", {"limits.max_bytes": 5000}, False),
        ("upscale", {"rembg.erode_size": 4}, False),
        ("rembg", {"rembg.erode_size": 4}, True),
        ("rembg", {"upscale.scale": 2}, False),
        ("read", {"limits.max_bytes": 5000}, True),
        ("score", {"quality.diff": False}, True),
        ("score", {"actions": ["upscale"]}, True),
    ],
)
def test_settings_that_a_stage_reads_build_it_anew(
    action: str, option: dict[str, Any], rebuilt: bool
) -> None:
    assert (stage_of(action, **option) is not stage_of(action)) == rebuilt


def test_every_action_section_has_its_row() -> None:
    assert set(CATALOGUE) == {"read", *Settings.action_names(), "score"}


def test_the_upscaler_keeps_the_limit_of_its_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[LimitSettings] = []
    monkeypatch.setattr(
        "imgpipe.upscaling.build.build_upscaler", lambda *_, limits, **__: given.append(limits)
    )
    stage_of("upscale", **{"limits.max_output_pixels": 7777, "upscale.model": "lanczos"}).load()
    assert [limits.max_output_pixels for limits in given] == [7777]


def test_weights_whose_licence_is_not_allowed_make_no_stage() -> None:
    base = load_settings({"models.allowed_licences": ["MIT"], "actions": ["rembg"]})
    with pytest.raises(
        ConfigError, match=r"isnet-anime: its licence is Apache-2.0, .* has MIT; choose another"
    ):
        build_stage(steps(base)[1], base)
    for model in ("birefnet-dis", "classical"):
        settings = changed_settings(base, {"rembg": {"model": model}})
        assert build_stage(steps(settings)[1], settings)
    default = load_settings({"rembg.model": "bria-rmbg", "actions": ["rembg"]})
    with pytest.raises(ConfigError, match=r"models\.allowed_licences .* paid agreement"):
        build_stage(steps(default)[1], default)
    names = [*default.models.allowed_licences, "LicenseRef-BRIA-RMBG-2.0"]
    accepted = changed_settings(default, {"models": {"allowed_licences": names}})
    assert build_stage(steps(accepted)[1], accepted)
