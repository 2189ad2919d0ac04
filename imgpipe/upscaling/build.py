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
from imgpipe.inference.device import DeviceSetting, resolve_device, resolve_precision, why_cpu
from imgpipe.inference.weights import LocatedWeights, locate
from imgpipe.settings import LimitSettings, UpscaleSettings
from imgpipe.upscaling.upscaler import TargetSize, Upscaler

if TYPE_CHECKING:
    from imgpipe.pixels.resize import Kernel
    from imgpipe.upscaling.network import LoadedNetwork

_CLASSICAL: Mapping[str, Kernel] = {"lanczos": "lanczos", "bicubic": "bicubic"}
_FALLBACK: Kernel = "lanczos"

#: Increment when the same settings and weights make other pictures.
CODE_VERSION = 7

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
    "spandrel": "install imgpipe[cpu] or imgpipe[gpu]",
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
    missing, ``settings.fallback`` decides: ``classical`` gives Lanczos with the reason recorded in
    ``model.fallback_reason``, ``fail`` raises. Raises :class:`imgpipe.errors.ConfigError` and the
    :class:`ModelError` family.
    """
    kernel = _CLASSICAL.get(settings.model)
    if kernel is not None:
        return _classical(settings, kernel, "", limits)
    try:
        return _network(settings, model_dir, device, limits, setting)
    except (WeightsMissing, PackagesMissing) as exc:
        if settings.fallback == "fail":
            raise
        what = str(exc).partition(";")[0]  # What is wrong; what to do is for the error alone.
        return _classical(settings, _FALLBACK, what, limits)


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
    kernel = _CLASSICAL.get(settings.model)
    try:
        if kernel is None:
            located = locate(settings.model, "upscaling", model_dir, setting)
            facts |= settings.model_dump(include={"halo", "color_match", "alpha", "tta"})
            backend = backend_for(settings, located.path)
            precision = _precision(settings, backend, device)
            facts |= {"sha256": located.sha256, "backend": backend, "precision": precision}
    except WeightsMissing:
        if settings.fallback == "fail":
            raise
        kernel = _FALLBACK
    if kernel is not None:
        facts = {"code": CODE_VERSION, **size, "kernel": kernel}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _precision(settings: UpscaleSettings, backend: Backend, device: str) -> str:
    """What ``settings.precision`` means for ``backend`` on ``device``."""
    if backend in ("onnx", "dnn_superres"):
        return "the file's own"
    if settings.precision != "auto":
        return settings.precision
    resolved = resolve_device(cast(DeviceSetting, device))
    if backend == "realesrgan":
        return "fp32" if resolved == "cpu" else "fp16"
    return resolve_precision("auto", resolved)


def _classical(
    settings: UpscaleSettings, kernel: Kernel, fallback_reason: str, limits: LimitSettings | None
) -> Upscaler:
    from imgpipe.upscaling.resample import ResampleUpscaler

    target = TargetSize.of(settings)
    return ResampleUpscaler(target, kernel, fallback_reason=fallback_reason, limits=limits)


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


def _network(
    settings: UpscaleSettings, model_dir: Path, device: str, limits: LimitSettings | None, setting: str
) -> Upscaler:
    located = locate(settings.model, "upscaling", model_dir, setting)
    backend = backend_for(settings, located.path)
    missing = missing_packages(backend)
    if missing:
        raise PackagesMissing(f"{setting}={settings.model}: {missing}, or use upscale.model=lanczos")
    from imgpipe.upscaling.network_upscaler import NetworkUpscaler
    from imgpipe.upscaling.self_ensemble import SelfEnsemble

    loaded = _load(backend, located, settings, device)
    if settings.tta:
        loaded = replace(loaded, network=SelfEnsemble(loaded.network))
    return NetworkUpscaler(loaded, settings, located, limits=limits)


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
