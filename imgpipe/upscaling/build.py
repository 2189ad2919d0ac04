"""From settings to an upscaler. Networks, and with them torch, are imported only when one is asked for."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from imgpipe.errors import PackagesMissing, WeightsMissing
from imgpipe.inference.device import DeviceSetting, resolve_device, resolve_precision
from imgpipe.inference.weights import locate
from imgpipe.settings import LimitSettings, UpscaleSettings
from imgpipe.upscaling.upscaler import Upscaler

if TYPE_CHECKING:
    from imgpipe.images.resize import Kernel

_CLASSICAL: Mapping[str, Kernel] = {"lanczos": "lanczos", "bicubic": "bicubic"}
_FALLBACK: Kernel = "lanczos"

#: Raised whenever the same settings and weights make other pictures.
CODE_VERSION = 1

_NEEDED_PACKAGES = ("torch", "torchvision", "spandrel", "safetensors")


def build_upscaler(
    settings: UpscaleSettings,
    *,
    model_dir: Path,
    device: str = "auto",
    limits: LimitSettings | None = None,
) -> Upscaler:
    """The upscaler that ``settings.model`` names, loaded and checked.

    ``lanczos`` and ``bicubic`` are classical. Where a network's weights (or the packages that run it) are
    missing, ``settings.fallback`` decides: ``classical`` gives Lanczos with the reason recorded in
    ``model.fallback_reason``, ``fail`` raises. Raises :class:`imgpipe.errors.ConfigError` and the
    :class:`ModelError` family.
    """
    kernel = _CLASSICAL.get(settings.model)
    if kernel is not None:
        return _classical(settings, kernel, "", limits)
    try:
        return _network(settings, model_dir, device, limits)
    except (WeightsMissing, PackagesMissing) as exc:
        if settings.fallback == "fail":
            raise
        what = str(exc).partition(";")[0]  # What is wrong; what to do is for the error alone.
        return _classical(settings, _FALLBACK, what, limits)


def fingerprint(settings: UpscaleSettings, model_dir: Path) -> str:
    """sha256 (hex) over what the pictures depend on, except the sources; loads no network.

    The tile size is not in it: exact tiles do not change the picture. Raises what :func:`build_upscaler`
    raises where the weights cannot be had.
    """
    facts: dict[str, Any] = {"code": CODE_VERSION, "scale": settings.scale}
    kernel = _CLASSICAL.get(settings.model)
    try:
        if kernel is None:
            facts |= settings.model_dump(include={"precision", "halo", "color_match"})
            facts["sha256"] = locate(settings.model, "upscaling", model_dir).sha256
    except WeightsMissing:
        if settings.fallback == "fail":
            raise
        kernel = _FALLBACK
    if kernel is not None:
        facts = {"code": CODE_VERSION, "scale": settings.scale, "kernel": kernel}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _classical(
    settings: UpscaleSettings, kernel: Kernel, fallback_reason: str, limits: LimitSettings | None
) -> Upscaler:
    from imgpipe.upscaling.resample import ResampleUpscaler

    return ResampleUpscaler(settings.scale, kernel, fallback_reason=fallback_reason, limits=limits)


def _network(
    settings: UpscaleSettings, model_dir: Path, device: str, limits: LimitSettings | None
) -> Upscaler:
    located = locate(settings.model, "upscaling", model_dir)
    missing = [name for name in _NEEDED_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise PackagesMissing(
            f"upscale.model={settings.model}: running a network needs {', '.join(missing)}; "
            "install imgpipe[cpu] or imgpipe[gpu], or use upscale.model=lanczos"
        )
    from imgpipe.upscaling.network_upscaler import NetworkUpscaler
    from imgpipe.upscaling.spandrel_network import load_network

    resolved = resolve_device(cast(DeviceSetting, device))
    precision = resolve_precision(settings.precision, resolved)
    loaded = load_network(located, device=resolved, precision=precision)
    return NetworkUpscaler(loaded, settings, located, limits=limits)
