"""The configured matting backend, with its weights found and loaded."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from imgpipe.errors import WeightsMissing
from imgpipe.inference.weights import LocatedWeights, locate
from imgpipe.matting.matte import Matter
from imgpipe.matting.models import MattingModel, contract_for
from imgpipe.records import ModelUse
from imgpipe.settings import RembgSettings

#: Increment when the same settings and model make other mattes.
CODE_VERSION = 4

#: The backend without weights, asked for by this name.
CLASSICAL = "classical"


def build_matter(settings: RembgSettings, *, model_dir: Path, device: str = "auto") -> Matter:
    """The backend that ``settings.model`` names, ready for :meth:`Matter.matte`.

    ``classical`` needs no weights; anything else is a registered name or the path of an .onnx file.
    Where its weights are missing and ``settings.fallback`` is ``classical``, that backend is taken and
    ``model.fallback_reason`` says which model was asked for and why it is not used.

    Raises :class:`WeightsMissing` (with ``fallback: fail``), :class:`WeightsCorrupt`,
    :class:`WeightsRefused`, :class:`ModelMismatch`, :class:`ModelError` (CUDA asked for and not active),
    :class:`ConfigError` (an unknown name).
    """
    if settings.model == CLASSICAL:
        return _classical(settings, "")
    try:
        located = locate(settings.model, "matting", model_dir)
    except WeightsMissing as exc:
        if settings.fallback != CLASSICAL:
            raise
        what = str(exc).partition(";")[0]  # What is wrong; what to do is for the error alone.
        return _classical(settings, f"{settings.model} was asked for and is not used: {what}")
    return _network(settings, located, device)


def fingerprint(settings: RembgSettings, model_dir: Path) -> str:
    """sha256 (hex) over what the mattes depend on, except the sources; loads no network.

    Raises what :func:`build_matter` raises where the weights cannot be had.
    """
    if settings.model == CLASSICAL:
        return fingerprint_of(settings, CLASSICAL, "")
    try:
        located = locate(settings.model, "matting", model_dir)
    except WeightsMissing:
        if settings.fallback != CLASSICAL:
            raise
        return fingerprint_of(settings, CLASSICAL, "")
    # The contract says how the file is fed: a custom file is fed otherwise than a registered one.
    return fingerprint_of(settings, f"onnx:{_contract(located).name}", located.sha256)


def fingerprint_of(settings: RembgSettings, backend: str, sha256: str) -> str:
    """sha256 (hex) over what changes the mattes: settings, backend, weights, code."""
    chosen = settings.model_dump(mode="json", exclude={"model", "fallback"})
    unused = ["preprocess", "subject_minimum"] if backend == CLASSICAL else ["confidence_minimum"]
    if settings.alpha_matting == "off":
        unused += ["foreground_threshold", "background_threshold", "erode_size", "guard_iou"]
    for name in unused:
        del chosen[name]
    text = json.dumps([CODE_VERSION, backend, sha256, chosen], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _classical(settings: RembgSettings, fallback_reason: str) -> Matter:
    from imgpipe.matting.classical import ClassicalMatter

    model = ModelUse(CLASSICAL, "opencv", precision="fp32", device="cpu", fallback_reason=fallback_reason)
    return ClassicalMatter(settings, model)


def _network(settings: RembgSettings, located: LocatedWeights, device: str) -> Matter:
    from imgpipe.matting.onnx_model import OnnxMatter, OnnxNetwork

    network = OnnxNetwork(located.path, _contract(located), device=device)
    model = ModelUse(located.name, network.runtime, located.sha256, "fp32", network.device)
    return OnnxMatter(network, settings, model)


def _contract(located: LocatedWeights) -> MattingModel:
    return contract_for(located.weights.name if located.weights else "")
