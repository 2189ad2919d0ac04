"""The stage of a step, kept for the life of the process so that its model stays warm."""

from __future__ import annotations

import logging
import threading

from imgpipe.config import Settings, dump_settings
from imgpipe.errors import ImgpipeError
from imgpipe.stages.chain import Step, steps
from imgpipe.stages.enhance import EnhanceStage
from imgpipe.stages.matte import MatteStage
from imgpipe.stages.protocol import Stage
from imgpipe.stages.read import ReadStage
from imgpipe.stages.score import ScoreStage
from imgpipe.stages.start import starting
from imgpipe.stages.upscale import UpscaleStage

log = logging.getLogger(__name__)

_warm: dict[tuple[str, str], Stage] = {}
_lock = threading.Lock()


def build_stage(step: Step, settings: Settings) -> Stage:
    """The stage for ``step``; the same settings give the same object, with its model still loaded."""
    key = (step.action, dump_settings(settings))
    with _lock:
        if key not in _warm:
            _warm[key] = _make(step, settings)
        return _warm[key]


def warm_up(settings: Settings) -> None:
    """Load the networks of all steps in a thread of their own, while sources are still being read.

    A network that cannot be loaded is tried again by its stage, which reports it.
    """
    networks = [
        stage
        for stage in (build_stage(step, settings) for step in steps(settings))
        if isinstance(stage, MatteStage | UpscaleStage)
    ]

    def load() -> None:
        with starting():
            for stage in networks:
                try:
                    stage.load()
                except ImgpipeError as exc:
                    log.info("loading ahead: %s", exc)

    if networks:
        threading.Thread(target=load, name="imgpipe-warm-up", daemon=True).start()


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
