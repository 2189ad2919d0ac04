"""NVIDIA's driver, asked without torch: whether a GPU can be used, which one is this process's, why not."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import importlib.util
import logging
import os
import sys
import tempfile
import weakref
from functools import cache
from pathlib import Path
from typing import Any, Protocol

#: The CUDA of the extra ``gpu``, and the oldest driver for it.
CUDA_MAJOR, OLDEST_DRIVER = 13, 580

_LOG = logging.getLogger(__name__)
_DEVICES = Path("/dev")
_NO_DEVICE = 100
#: What CUDA_VISIBLE_DEVICES was before a process took one GPU of it, for those that it starts.
_OFFERED = "_IMGPIPE_OFFERED_GPUS"
#: Processes that share a GPU at most, of those that are told apart.
_SHARING = 64
_held: list[Any] = []


class Keeper(Protocol):
    """What keeps memory on a GPU beside torch."""

    def release_cached_memory(self) -> None:
        """Give it back."""


#: Those of this process.
KEEPERS: weakref.WeakSet[Keeper] = weakref.WeakSet()


def why_no_gpu() -> str:
    """Why no program can use a GPU here and what to do, or nothing. Starts the driver, loads no runtime."""
    prepare_process()
    driver = _driver()
    if driver is None:
        return (
            "NVIDIA's driver (libcuda.so.1) is not here: install one of version "
            f"{OLDEST_DRIVER} or newer, or start the container with --gpus all"
        )
    code = driver.cuInit(0)
    if code == _NO_DEVICE:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        hidden = "" if visible is None else f"; CUDA_VISIBLE_DEVICES is {visible!r}"
        return f"the driver shows no GPU{hidden}: check `nvidia-smi` and what the container is given"
    if code:
        return f"the driver does not start (CUDA error {code}): check `nvidia-smi`, or restart the machine"
    version = ctypes.c_int()
    driver.cuDriverGetVersion(ctypes.byref(version))
    if version.value < CUDA_MAJOR * 1000:
        return (
            f"the driver is for CUDA {version.value // 1000}.{version.value % 1000 // 10}, expected "
            f"{CUDA_MAJOR}: install driver {OLDEST_DRIVER} or newer"
        )
    return ""


def gpu_is_there() -> bool:
    """Whether this process is given a GPU, whether or not any library can use it: the driver shows one, or
    does not start although the device files are here. Hidden ones (``CUDA_VISIBLE_DEVICES``) are not
    given."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1", "NoDevFiles"):
        return False
    driver = _driver()
    if driver is None:
        return any(_DEVICES.glob("nvidia[0-9]*"))
    return bool(driver.cuInit(0) != _NO_DEVICE)


def total_memory_bytes() -> int:
    """Of the GPU that comes first; call it where :func:`why_no_gpu` says nothing."""
    driver, device, size = _driver(), ctypes.c_int(), ctypes.c_size_t()
    if driver is None or driver.cuDeviceGet(ctypes.byref(device), 0):
        return 0
    driver.cuDeviceTotalMem_v2(ctypes.byref(size), device)
    return size.value


@cache
def prepare_process() -> None:
    """What must be set before a runtime starts CUDA: one GPU of several, and how torch keeps its memory.

    Of several GPUs that a process sees it takes the one that the fewest take, and holds it to its end; one
    that was given (``CUDA_VISIBLE_DEVICES`` with one name, as Ray and containers do) is kept.
    """
    if "PYTORCH_ALLOC_CONF" not in os.environ:
        os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")
    offered = _offered()
    if len(offered) < 2:
        return
    folder = Path(tempfile.gettempdir()) / f"imgpipe-gpus-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        gpu = _take(folder, offered)
    except OSError as exc:
        _LOG.warning("no GPU is taken for this process alone, it uses the first one: %s", exc)
        return
    os.environ[_OFFERED] = ",".join(offered)
    os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")  # as the driver's files and nvidia-smi count


def release_caches() -> None:
    """Give memory that runtimes keep on a GPU for reuse back to it, as between two steps; loads nothing."""
    for keeper in list(KEEPERS):
        keeper.release_cached_memory()
    release_torch_cache()


def release_torch_cache() -> None:
    """Torch's part of :func:`release_caches`."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


@cache
def preload() -> None:
    """Load the CUDA and cuDNN that were installed with onnxruntime, which does not look for them itself."""
    import onnxruntime

    if hasattr(onnxruntime, "preload_dlls"):
        with contextlib.redirect_stdout(sys.stderr):  # it prints what it does not find
            onnxruntime.preload_dlls(directory="")


def missing_library() -> str:
    """The library that onnxruntime's CUDA part lacks, or nothing.

    Only for after a session did not get CUDA: loaded before onnxruntime does it, that part is left unusable.
    """
    spec = importlib.util.find_spec("onnxruntime")
    folder = Path(str(spec.origin)).parent / "capi" if spec else Path()
    for name in ("shared", "cuda"):
        try:
            ctypes.CDLL(str(folder / f"libonnxruntime_providers_{name}.so"), ctypes.RTLD_GLOBAL)
        except OSError as exc:
            return str(exc)
    return ""


@cache
def _driver() -> Any:
    try:
        return ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None


def _offered() -> list[str]:
    """Names of the GPUs that this process may take one of."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return sorted(path.name.removeprefix("nvidia") for path in _DEVICES.glob("nvidia[0-9]*"))
    offered = os.environ.get(_OFFERED, "").split(",")
    return offered if visible in offered else visible.split(",")


def _take(folder: Path, gpus: list[str]) -> str:
    """The one that the fewest processes hold, by locks that end with the process."""
    for share in range(_SHARING):
        for gpu in gpus:
            file = (folder / f"{share}-{gpu.strip().replace('/', '-')}").open("w")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
                continue
            _held.append(file)
            return gpu.strip()
    raise OSError(f"{_SHARING * len(gpus)} processes hold the locks in {folder}")
