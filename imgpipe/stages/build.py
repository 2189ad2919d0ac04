"""The stage of a step, kept so that its model stays loaded."""

from __future__ import annotations

import logging
import threading

from pydantic_core import to_json

from imgpipe.config import Settings
from imgpipe.errors import ImgpipeError
from imgpipe.images.file_formats import require_writable
from imgpipe.inference.weights import check_licence, registered_as
from imgpipe.stages.chain import Step, steps
from imgpipe.stages.protocol import LoadableStage, Stage
from imgpipe.stages.start import starting

log = logging.getLogger(__name__)

#: How many stages stay, and how many of those with a model: jobs bring settings of their own along.
_STAGES, _MODELS = 256, 6
#: The one used last stands last.
_built: dict[tuple[str, bytes], Stage] = {}
_lock = threading.Lock()


def build_stage(step: Step, settings: Settings) -> Stage:
    """The stage for ``step``; where the settings that it reads are the same, the same object as before.

    Raises :class:`ConfigError` where the licence of its weights is not among ``models.allowed_licences``, and
    where ``files.format`` cannot be written here.
    """
    require_writable(settings.files.format)
    names = [getattr(settings, step.action.name).model] if step.action.runs_network(settings) else []
    if step.action.name == "rembg" and settings.rembg.alpha_matting == "vitmatte":
        names.append(settings.rembg.vitmatte_model)
    if step.action.name == "rembg" and settings.rembg.second_model is not None:
        names.append(settings.rembg.second_model)
    for name in names:
        weights = registered_as(name)
        if weights is not None:
            check_licence(weights, settings.models.allowed_licences)
    arguments = step.action.arguments(settings)
    key = (step.action.stage, to_json(arguments))
    with _lock:
        stage = _built.pop(key, None) or step.action.stage_class()(**arguments)
        _built[key] = stage
        loaded = [one for one, other in _built.items() if hasattr(type(other), "load")]
        for surplus in [*loaded[:-_MODELS], *list(_built)[:-_STAGES]]:
            _built.pop(surplus, None)
        return stage


def warm_up(settings: Settings) -> None:
    """Load the models of all steps in a thread of their own, while sources are still being read.

    A model that cannot be loaded is tried again by its stage, which reports it.
    """
    stages = [build_stage(step, settings) for step in steps(settings)]
    loadable = [stage for stage in stages if isinstance(stage, LoadableStage)]

    def load() -> None:
        with starting():
            for stage in loadable:
                try:
                    stage.load()
                except ImgpipeError as exc:
                    log.info("loading ahead: %s", exc)

    if loadable:
        threading.Thread(target=load, name="imgpipe-warm-up", daemon=True).start()
