"""From settings to an upscaler. Networks, and with them torch, are imported only when one is asked for."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from imgpipe.errors import ConfigError, PackagesMissing, WeightsMissing
from imgpipe.inference.device import DeviceSetting, may_use_cuda, resolve_device, resolve_precision, why_cpu
from imgpipe.inference.weights import REGISTRY, LocatedWeights, locate
from imgpipe.settings import LimitSettings, UpscaleSettings
from imgpipe.upscaling.framed_network import FRAME_PX, FramedNetwork
from imgpipe.upscaling.upscaler import TargetSize, Upscaler

if TYPE_CHECKING:
    from imgpipe.pixels.resize import Kernel
    from imgpipe.upscaling.network import LoadedNetwork

_CLASSICAL: Mapping[str, Kernel] = {"lanczos": "lanczos", "bicubic": "bicubic"}
#: ``upscale.fallback`` -> the model that is used in place of one that is not there.
_FALLBACKS: Mapping[str, str] = {"lite": "imgpipe-lite", "classical": "lanczos"}

#: Increment when the same settings and weights make other files.
CODE_VERSION = 8

Backend = Literal["spandrel", "realesrgan", "dnn_superres", "onnx"]

#: What runs a weights file where ``upscale.backend`` is ``auto``; everything else is spandrel's.
_BY_SUFFIX: Mapping[str, Backend] = {".onnx": "onnx", ".pb": "dnn_superres"}

#: What each backend imports beyond this package's own requirements, and how to get it.
_NEEDED_PACKAGES: Mapping[Backend, tuple[str, ...]] = {
    "spandrel": ("torch", "torchvision", "spandrel", "safetensors"),
    "realesrgan": ("torch", "torchvision", "safetensors", "realesrgan", "basicsr"),
    "dnn_superres": (),
    "onnx": (),
}
_INSTALL: Mapping[Backend, str] = {
    "spandrel": "install imgpipe[networks] or imgpipe[gpu]",
    "realesrgan": "install imgpipe[realesrgan], then `pip install --no-deps realesrgan basicsr`",
    "dnn_superres": "install opencv-contrib-python-headless",
    "onnx": "install imgpipe anew",
}


def build_upscaler(
    settings: UpscaleSettings,
    *,
    model_dir: Path,
    device: str = "auto",
    limits: LimitSettings | None = None,
    setting: str = "upscale.model",
) -> Upscaler:
    """The upscaler that ``settings.model`` names, loaded and checked; messages call that ``setting``.

    ``lanczos`` and ``bicubic`` are classical. Where a network's weights (or the packages that run it) are
    missing, ``settings.fallback`` decides: ``lite`` gives the network of this package, ``classical`` Lanczos,
    with the reason recorded in ``model.fallback_reason``; ``fail`` raises. Raises
    :class:`imgpipe.errors.ConfigError` and the :class:`ModelError` family.
    """
    settings, located, fallback_reason = _resolved(settings, model_dir, setting)
    if located is None:
        kernel = _CLASSICAL[settings.model]
        from imgpipe.upscaling.resample import ResampleUpscaler

        return ResampleUpscaler(
            TargetSize.of(settings), kernel, fallback_reason=fallback_reason, limits=limits
        )
    return _network(settings, located, device, fallback_reason, limits, setting)


def fingerprint(
    settings: UpscaleSettings, model_dir: Path, device: str = "auto", setting: str = "upscale.model"
) -> str:
    """sha256 (hex) over what the pictures depend on, except the sources; loads no network.

    The tile size is not in it: exact tiles do not change the picture. Nor is what runs the network: runtimes
    of one precision agree. ``precision: auto`` is what it means on ``device``. Raises what
    :func:`build_upscaler` raises where the weights cannot be had.
    """
    size = settings.model_dump(include={"scale", "target_size", "min_dimensions"})
    facts: dict[str, Any] = {"code": CODE_VERSION, **size}
    settings, located, _ = _resolved(settings, model_dir, setting)
    if located is None:
        facts["kernel"] = _CLASSICAL[settings.model]
    else:
        facts |= settings.model_dump(include={"halo", "color_match", "alpha", "tta"})
        backend = backend_for(settings, located.path)
        precision = _precision(settings, located, backend, device)
        facts |= {"sha256": located.sha256, "backend": backend, "precision": precision}
        if located.shipped:
            facts["frame_px"] = FRAME_PX
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _precision(settings: UpscaleSettings, located: LocatedWeights, backend: Backend, device: str) -> str:
    """What ``settings.precision`` means for ``backend`` on ``device``."""
    if backend == "dnn_superres" or (backend == "onnx" and not located.shipped):
        return "the file's own"
    if backend == "onnx":
        return "fp32" if may_use_cuda(device) else resolve_precision(settings.precision, "cpu")
    if settings.precision != "auto":
        return settings.precision
    resolved = resolve_device(cast(DeviceSetting, device))
    if backend == "realesrgan":
        return "fp32" if resolved == "cpu" else "fp16"
    return resolve_precision("auto", resolved)


def backend_for(settings: UpscaleSettings, path: Path) -> Backend:
    """What runs the weights file at ``path``; raises :class:`ConfigError` where it cannot be what is set."""
    suffix = path.suffix.lower()
    chosen = settings.backend
    if chosen == "auto":
        return _BY_SUFFIX.get(suffix, "spandrel")
    fits = _BY_SUFFIX.get(suffix)
    if chosen != fits and (fits is not None or chosen in _BY_SUFFIX.values()):
        own = [ending for ending, backend in _BY_SUFFIX.items() if backend == chosen]
        expected = own[0] if own else ".safetensors or .pth"
        raise ConfigError(
            f"upscale.backend={chosen}: expected a {expected} file, got {path}; set upscale.backend to auto"
        )
    return chosen


def missing_packages(backend: Backend) -> str:
    """Which packages ``backend`` lacks and how to install them, or nothing; imports none of them."""
    missing = [name for name in _NEEDED_PACKAGES[backend] if importlib.util.find_spec(name) is None]
    return f"{backend} needs {', '.join(missing)}; {_INSTALL[backend]}" if missing else ""


def _resolved(
    settings: UpscaleSettings, model_dir: Path, setting: str
) -> tuple[UpscaleSettings, LocatedWeights | None, str]:
    """The settings with the model that is used, its file (``None``: a classical one), and why it is not the
    one that was asked for."""
    if settings.model in _CLASSICAL:
        return settings, None, ""
    try:
        located = locate(_network_of(settings), "upscaling", model_dir, setting)
        if settings.fallback != "fail":  # Who only plans needs no packages.
            _check_packages(settings, located, setting)
    except (WeightsMissing, PackagesMissing) as exc:
        if settings.fallback == "fail":
            raise
        used = {"model": _FALLBACKS[settings.fallback], "backend": "auto", "fallback": "fail"}
        used_settings, used_file, _ = _resolved(settings.model_copy(update=used), model_dir, setting)
        # What is wrong; what to do is for the error alone.
        return used_settings, used_file, str(exc).partition(";")[0]
    return settings, located, ""


def _network_of(settings: UpscaleSettings) -> str:
    """``settings.model``, or its network for a scale of at most 2 where that is enough and registered."""
    half = f"{settings.model}-x2"
    enough = settings.scale <= 2 and settings.target_size is None and settings.min_dimensions is None
    return half if enough and half in REGISTRY else settings.model


def _check_packages(settings: UpscaleSettings, located: LocatedWeights, setting: str) -> None:
    if missing := missing_packages(backend_for(settings, located.path)):
        raise PackagesMissing(f"{setting}={settings.model}: {missing}, or use {setting}=imgpipe-lite")


def _network(
    settings: UpscaleSettings,
    located: LocatedWeights,
    device: str,
    fallback_reason: str,
    limits: LimitSettings | None,
    setting: str,
) -> Upscaler:
    _check_packages(settings, located, setting)
    from imgpipe.upscaling.network_upscaler import NetworkUpscaler
    from imgpipe.upscaling.self_ensemble import SelfEnsemble

    loaded = _load(backend_for(settings, located.path), located, settings, device)
    if located.shipped:
        loaded = replace(loaded, network=FramedNetwork(loaded.network))
    if settings.tta:
        loaded = replace(loaded, network=SelfEnsemble(loaded.network))
    return NetworkUpscaler(loaded, settings, located, fallback_reason=fallback_reason, limits=limits)


def _load(backend: Backend, located: LocatedWeights, settings: UpscaleSettings, device: str) -> LoadedNetwork:
    """The network, loaded and checked; only what ``backend`` needs is imported."""
    if backend == "dnn_superres":
        from imgpipe.upscaling import dnn_superres_network

        return dnn_superres_network.load_network(located, precision=settings.precision)
    if backend == "onnx":
        from imgpipe.upscaling import onnx_network

        return onnx_network.load_network(located, device=device, precision=settings.precision)
    resolved = resolve_device(cast(DeviceSetting, device))
    if backend == "realesrgan":
        from imgpipe.upscaling import realesrgan_network

        loaded = realesrgan_network.load_network(located, device=resolved, precision=settings.precision)
    else:
        from imgpipe.upscaling import spandrel_network

        loaded = spandrel_network.load_network(located, device=resolved, precision=settings.precision)
    return replace(loaded, reasons=(*loaded.reasons, *why_cpu(device, resolved)))
