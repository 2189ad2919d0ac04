"""``doctor``: what works on this machine and what does not."""

from __future__ import annotations

import base64
import importlib.metadata
import platform
import tempfile
import time
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from imgpipe import __version__
from imgpipe.cli.common import EXIT_OK, EXIT_USAGE, Assignments, dataset_settings, exits, out
from imgpipe.cli.console import escape
from imgpipe.config import Settings
from imgpipe.errors import ImgpipeError
from imgpipe.host import usable_cores
from imgpipe.inference.cuda import gpu_is_there
from imgpipe.inference.device import (
    available_memory_bytes,
    package_version,
    resolve_device,
    resolve_precision,
    why_cpu,
)
from imgpipe.inference.weights import check_licence, locate
from imgpipe.stages.build import build_stage
from imgpipe.stages.chain import steps
from imgpipe.storage.lease import honours_conditional_writes
from imgpipe.storage.store import ImageStore

#: Every distribution that installs the module ``cv2``.
_OPENCV_PACKAGES = (
    "opencv-contrib-python-headless",
    "opencv-contrib-python",
    "opencv-python-headless",
    "opencv-python",
)

#: An ONNX file of one 1x1 convolution, from (n, 3, h, w) to the sum of channels: a GPU needs cuDNN for it.
_CONVOLUTION = (
    "CAg6iwEKNRIBdyIIQ29uc3RhbnQqJgoFdmFsdWUqGggBCAMIAQgBEAEiDAAAgD8AAIA/AACAP0IAoAEECg8KAXgKAXcSAXkiBENvbnYSAWda"
    "HgoBeBIZChcIARITCgMSAW4KAggDCgMSAWgKAxIBd2IeCgF5EhkKFwgBEhMKAxIBbgoCCAEKAxIBaAoDEgF3QgQKABAN"
)

#: (works, what was found); ``None`` where it is neither good nor bad.
Finding = tuple[bool | None, str]


@exits
def doctor(
    assignments: Assignments = None,
    read_only: Annotated[
        bool,
        typer.Option(
            "--read-only", help="List the output and write nothing, load no model: for health checks."
        ),
    ] = False,
) -> None:
    """Device, precision, providers, models and stores: what works and what does not."""
    settings = dataset_settings({}, assignments, None)
    probes: list[tuple[str, Callable[[], Finding]]] = [
        ("imgpipe", _versions),
        ("device", lambda: _device(settings)),
        ("onnx networks", lambda: _onnx(settings)),
        ("matting model", lambda: _model(settings, "matting")),
        ("upscaling model", lambda: _model(settings, "upscaling")),
        ("opencv", _opencv),
        ("isolation", lambda: _isolation(settings)),
        ("source", lambda: _store(settings.source, settings, write=False)),
        ("output", lambda: _store(settings.output, settings, write=not read_only)),
    ]
    if not read_only:
        probes += [(f"action {name}", partial(_action, settings, name)) for name in settings.actions]
    worked = True
    for name, probe in probes:
        good, found = _try(probe)
        worked = worked and good is not False
        mark = {True: "[green]ok  [/]", False: "[red]fail[/]", None: "[dim]-   [/]"}[good]
        out.print(f"{mark} {name}: {escape(found)}")
    raise typer.Exit(EXIT_OK if worked else EXIT_USAGE)


def _try(probe: Callable[[], Finding]) -> Finding:
    try:
        return probe()
    except (ImgpipeError, ImportError, OSError) as exc:
        return False, f"{type(exc).__name__}: {exc}"


def _versions() -> Finding:
    names = ("dagster", "pillow", "numpy")
    found = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
    return True, f"{__version__} on Python {platform.python_version()}, {usable_cores()} cores; {found}"


def _device(settings: Settings) -> Finding:
    device = resolve_device(settings.device)
    why = "".join(f"; {reason}" for reason in why_cpu(settings.device, device))
    precision = resolve_precision(settings.upscale.precision, device)
    free = available_memory_bytes(device) / 2**30
    what = platform.processor() or "CPU"
    if device.startswith("cuda"):
        import torch

        what = torch.cuda.get_device_name()
    found = package_version("torch") or "not installed"
    # A GPU that nothing uses is a fault, unless this machine was never meant to use it.
    usable = not (why and found != "not installed" and gpu_is_there())
    return usable, f"{device} ({what}), precision {precision}, {free:.1f} GiB free, torch {found}{why}"


def _onnx(settings: Settings) -> Finding:
    """Opens a session: what a wheel lists need not start."""
    from imgpipe.inference.onnx_file import open_onnx
    from imgpipe.inference.openvino_network import library

    if package_version("onnxruntime") and package_version("onnxruntime-gpu"):
        return False, (
            "onnxruntime and onnxruntime-gpu overwrite each other; `pip uninstall -y onnxruntime`, then "
            "`pip install --force-reinstall --no-deps onnxruntime-gpu`"
        )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "probe.onnx"
        path.write_bytes(base64.b64decode(_CONVOLUTION))
        opened = open_onnx(path, settings.device)
        if not np.allclose(opened(np.ones((1, 3, 8, 8), np.float32))[0], 3):
            return False, f"{opened.runtime} on {opened.device} computes a convolution wrongly"
    if opened.device == "cuda":
        return True, f"onnxruntime {package_version('onnxruntime-gpu')} on CUDA"
    why = f"; {opened.fallback_reason}" if opened.fallback_reason else ""
    usable = not (why and gpu_is_there())
    return usable, f"openvino {library().__version__} on the CPU{why}"


def _opencv() -> Finding:
    """Several OpenCV packages install into one folder and overwrite each other's files."""
    import cv2

    installed = [name for name in _OPENCV_PACKAGES if package_version(name)]
    found = f"{cv2.__version__} from {', '.join(installed) or 'no package that pip knows'}"
    if len(installed) > 1:
        return False, (
            f"{found}: they overwrite each other; `pip uninstall -y {' '.join(installed)}`, then "
            "`pip install opencv-contrib-python-headless`"
        )
    if not hasattr(cv2, "dnn_superres"):
        return None, (
            f"{found}, without dnn_superres (needed for .pb networks only); "
            "`pip install --force-reinstall opencv-contrib-python-headless`"
        )
    return True, f"{found}, with dnn_superres"


def _isolation(settings: Settings) -> Finding:
    """Whether decoding workers start, and what this kernel lets them do."""
    from imgpipe.images.isolation import IsolatedDecoder

    if settings.isolation.mode == "none":
        return None, "isolation.mode=none: files are decoded in this process, with all that it may do"
    with IsolatedDecoder(settings.isolation, 1) as decoder:
        missing = decoder.missing()
    if missing:
        return None, (
            f"decoding workers are limited, but not confined: {'; '.join(missing)}; decode "
            "files of strangers on Linux 5.13 or newer, or in a container of their own"
        )
    return True, "decoding workers have no network, no files, no programs and no credentials"


def _model(settings: Settings, task: str) -> Finding:
    section = settings.rembg if task == "matting" else settings.upscale
    if section.model in ("classical", "lanczos", "bicubic"):
        return True, f"{section.model} (needs no weights)"
    found = locate(section.model, "matting" if task == "matting" else "upscaling", settings.model_dir)
    what = f"{found.name} at {found.path}, sha256 {found.sha256[:16]}…, licence {found.licence}"
    if found.weights is not None:
        check_licence(found.weights, settings.models.allowed_licences)
    if task == "matting":
        from imgpipe.matting.build import contract_of

        what += f", fed as {contract_of(settings.rembg, found).name}"
        if settings.rembg.second is not None:
            second = locate(settings.rembg.second.model, "matting", settings.model_dir)
            if second.weights is not None:
                check_licence(second.weights, settings.models.allowed_licences)
            contract = contract_of(settings.rembg.second, second, "rembg.second_contract")
            what += f"; compared with {second.name} at {second.path}, fed as {contract.name}"
    if task == "upscaling":
        from imgpipe.upscaling.build import backend_for, missing_packages

        backend = backend_for(settings.upscale, found.path)
        missing = missing_packages(backend)
        if missing:
            return False, f"{what}: {missing}"
        what += f", read by {backend}"
    return True, what


def _action(settings: Settings, name: str) -> Finding:
    """Loads the action's model and makes a small picture: what a network is shows in its answer."""
    from imgpipe.images.image import Image

    stage = build_stage(next(step for step in steps(settings) if step.action.name == name), settings)
    begin = time.perf_counter()
    made = stage.run({"source": Image(np.full((64, 64, 3), 200, np.uint8))}, {})
    model, reason = (made.model.name, made.model.fallback_reason) if made.model else ("", "")
    found = f"{model} loaded, 64x64 px made, in {time.perf_counter() - begin:.1f} s"
    return (None, f"{found}; a fallback: {reason}") if reason else (True, found)


def _store(url: str, settings: Settings, *, write: bool) -> Finding:
    from imgpipe.storage.opening import open_store

    if not url:
        return None, "not configured"
    store = open_store(url, settings.s3, create=write)
    if write:
        return _written(store)
    key = store.any_key()
    return True, f"{store.url} can be listed" + (f", with {key}" if key else ", it is empty")


def _written(store: ImageStore) -> Finding:
    faults = []
    if not honours_conditional_writes(store):
        faults.append(
            "the server ignores If-None-Match: two planners, runs or reviewers at the same time overwrite "
            "each other's files; start one at a time, or use one that knows it"
        )
    if store.url.startswith("s3://") and _lists_in_another_order(store):
        faults.append(
            "the server does not list by key; set s3.listing_order=unsorted, or scans of the arrival "
            "sensor that end in the middle of the source may miss some of it"
        )
    return (None if faults else True), "; ".join((f"{store.url} can be written", *faults))


def _lists_in_another_order(store: ImageStore) -> bool:
    """Tried with names whose order differs where a server lists folder by folder."""
    folder = f"imgpipe-doctor-{uuid.uuid4().hex}"
    names = (f"{folder}/a-b", f"{folder}/a/b")
    try:
        for name in names:
            store.write(name, b"", overwrite=True)
        list(store.list(f"{folder}/"))
        return bool(getattr(store, "seen_unsorted", False))
    finally:
        for name in names:
            store.delete(name)
