"""The stage of a step, kept for the life of the process so that its model stays warm."""

from __future__ import annotations

import threading

from imgpipe.config import Settings, dump_settings
from imgpipe.stages.chain import Step
from imgpipe.stages.enhance import EnhanceStage
from imgpipe.stages.matte import MatteStage
from imgpipe.stages.protocol import Stage
from imgpipe.stages.read import ReadStage
from imgpipe.stages.score import ScoreStage
from imgpipe.stages.upscale import UpscaleStage

_warm: dict[tuple[str, str], Stage] = {}
_lock = threading.Lock()


def build_stage(step: Step, settings: Settings) -> Stage:
    """The stage for ``step``; the same settings give the same object, with its model still loaded."""
    key = (step.action, dump_settings(settings))
    with _lock:
        if key not in _warm:
            _warm[key] = _make(step, settings)
        return _warm[key]


def _make(step: Step, settings: Settings) -> Stage:
    match step.action:
        case "read":
            return ReadStage(settings.limits)
        case "enhance":
            return EnhanceStage(settings.enhance, settings.limits)
        case "rembg":
            return MatteStage(settings)
        case "upscale":
            return UpscaleStage(settings)
        case "score":
            return ScoreStage(settings)
    raise ValueError(f"no stage for action {step.action!r}")
