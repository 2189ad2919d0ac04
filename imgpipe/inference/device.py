"""Where networks run, in which precision, and how much memory they may take.

torch is imported inside the functions that need it; without torch everything runs on the CPU.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from imgpipe.errors import ConfigError, ModelError
from imgpipe.host import CGROUP, PROC, memory_left_bytes, values
from imgpipe.inference.cuda import prepare_process, why_no_gpu

if TYPE_CHECKING:
    from collections.abc import Sequence

DeviceSetting = Literal["auto", "cpu", "cuda"]
PrecisionSetting = Literal["auto", "fp32", "bf16", "fp16"]

_LOG = logging.getLogger(__name__)

_DRIVERS = (Path("/dev/nvidiactl"), Path("/dev/dxg"), PROC / "driver" / "nvidia")


def resolve_device(setting: DeviceSetting) -> str:
    """``"cpu"`` or ``"cuda"`` for the setting ``device``.

    ``auto`` takes a CUDA GPU where torch sees one. Raises :class:`ConfigError` for ``cuda`` without one
    and for any other word.
    """
    if setting == "cpu":
        return "cpu"
    if setting not in ("auto", "cuda"):
        raise ConfigError(f"device: expected auto, cpu or cuda, got {setting!r}")
    if setting == "auto" and not _may_have_cuda():
        return "cpu"
    reason = _why_no_cuda()
    if not reason:
        return "cuda"
    if setting == "cuda":
        raise ConfigError(f"device: cuda was asked for, but {reason}; or set device to auto or cpu")
    return "cpu"


def why_cpu(setting: str, device: str) -> tuple[str, ...]:
    """For the record: why ``auto`` became the CPU where a GPU was to be expected, else nothing."""
    if setting != "auto" or device != "cpu" or not gpu_is_expected():
        return ()
    return (f"device auto is the CPU: {_why_no_cuda()}",)


def gpu_is_expected() -> bool:
    """Whether NVIDIA's driver is to be seen or onnxruntime was installed for CUDA."""
    return _may_have_cuda() or bool(package_version("onnxruntime-gpu"))


def may_use_cuda(setting: str) -> bool:
    """Whether :func:`resolve_device` may answer ``cuda``, told without importing torch.

    ``auto`` means the CPU where no driver of NVIDIA's is to be seen, ``CUDA_VISIBLE_DEVICES`` hides all GPUs,
    or torch is missing or a build without CUDA.
    """
    if setting != "auto":
        return setting == "cuda"
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1", "NoDevFiles")
    if hidden or not _may_have_cuda():
        return False
    torch = package_version("torch")
    return bool(torch and not torch.endswith("+cpu")) or bool(package_version("onnxruntime-gpu"))


def bf16_pays(proc: Path = PROC) -> bool:
    """Whether networks in bf16 are faster than in fp32 on this CPU, by its flags: nothing is timed.

    With the matrix unit (AMX-BF16) they are; with AVX512-BF16 on AMD's (measured 2.0 times as fast by
    OpenVINO on an EPYC of Zen 4) and not on Intel's (0.6 times on a Xeon whose hypervisor hides AMX); all
    others emulate bf16 or were never measured. ``proc``: where the proc file system is mounted; without one
    (not Linux) the answer is no.
    """
    found = values(proc / "cpuinfo", ":")
    amd_bf16 = "avx512_bf16" in found.get("flags", "").split() and found.get("vendor_id") == "AuthenticAMD"
    return amd_bf16 or has_matrix_unit(proc)


def has_matrix_unit(proc: Path = PROC) -> bool:
    """Whether the CPU has AMX-BF16, by its flags."""
    return "amx_bf16" in values(proc / "cpuinfo", ":").get("flags", "").split()


def resolve_precision(setting: PrecisionSetting, device: str) -> str:
    """``"fp32"``, ``"bf16"`` or ``"fp16"`` for the setting ``upscale.precision`` on ``device``.

    ``auto``: on a CPU bf16 where :func:`bf16_pays`, else fp32; on CUDA fp16 from compute capability 7.0
    (Volta) on, fp32 before: bf16 is no faster and has three bits less, and what overflows fp16 is computed
    again in fp32. A precision that was asked for is kept, with a warning where another is faster.
    Raises :class:`ConfigError` for any other word.
    """
    if setting not in ("auto", "fp32", "bf16", "fp16"):
        raise ConfigError(f"upscale.precision: expected auto, fp32, bf16 or fp16, got {setting!r}")
    if setting == "fp32":
        return setting
    native = _native_precision(device)
    if setting == "auto":
        return native
    if setting != native and not (setting == "bf16" and _bf16_is_native(device)):
        _LOG.warning(
            "upscale.precision: %s is not the fastest on this %s: that is %s", setting, device, native
        )
    return setting


def available_memory_bytes(device: str, *, proc: Path = PROC, cgroup: Path = CGROUP) -> int:
    """Bytes that may be taken on ``device`` now without swapping or being killed.

    CUDA: free memory as the driver says plus what torch holds in its cache unused. Host:
    :func:`imgpipe.host.memory_left_bytes`; raises :class:`ModelError` where that is not known.
    """
    if device.startswith("cuda"):
        import torch

        free, _ = torch.cuda.mem_get_info(device)
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(free + unused)
    left = memory_left_bytes(proc=proc, cgroup=cgroup)
    if left is None:
        raise ModelError(
            f"free memory is unknown: expected {proc}/meminfo or a cgroup limit under {cgroup}; "
            "set upscale.tile_size to a number"
        )
    return left


def _may_have_cuda() -> bool:
    """Whether a driver of NVIDIA's is to be seen; torch, whose import takes seconds, is not asked."""
    return not PROC.is_dir() or any(path.exists() for path in _DRIVERS)


def package_version(package: str) -> str:
    """Of an installed package, else empty."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _why_no_cuda() -> str:
    """Empty where CUDA works, else the reason and what to do."""
    if importlib.util.find_spec("torch") is None:
        return "torch is not installed: pip install 'imgpipe[gpu]'"
    prepare_process()
    import torch

    if torch.version.cuda is None:
        return f"torch {torch.__version__} is a build without CUDA: install one from pytorch.org"
    if not torch.cuda.is_available():
        unusable = "torch finds no usable GPU: check `nvidia-smi`, the driver and CUDA_VISIBLE_DEVICES"
        return why_no_gpu() or unusable
    capability, kernels = torch.cuda.get_device_capability(), torch.cuda.get_arch_list()
    if not has_kernels(capability, kernels):
        return (
            f"torch {torch.__version__} has kernels for {', '.join(kernels)}, the GPU is "
            f"sm_{capability[0]}{capability[1]}: install a torch for it, or take another GPU"
        )
    return ""


def has_kernels(capability: tuple[int, int], kernels: Sequence[str]) -> bool:
    """Whether a GPU of ``capability`` (major, minor) runs any of ``kernels``, as torch names them.

    ``sm_86`` runs on 8.6 and later ones of 8; ``sm_90a`` on that capability alone, ``compute_90`` (PTX, which
    the driver compiles) on it and all later ones. Source: CUDA C++ Programming Guide, Compute Capabilities.
    """
    for kernel in kernels:
        kind, _, number = kernel.partition("_")
        digits = number.rstrip("af")
        if not digits.isdigit():
            continue
        built = int(digits[:-1]), int(digits[-1])
        exact = number.endswith("a")
        same = capability == built if exact else capability[0] == built[0] and capability >= built
        if same or (kind == "compute" and not exact and capability >= built):
            return True
    return False


def _native_precision(device: str) -> str:
    if device.startswith("cpu"):
        return "bf16" if bf16_pays() else "fp32"
    import torch

    major, _ = torch.cuda.get_device_capability(device)
    return "fp16" if major >= 7 else "fp32"


def _bf16_is_native(device: str) -> bool:
    """On a GPU: from compute capability 8.0 (Ampere) on."""
    if device.startswith("cpu"):
        return False
    import torch

    return torch.cuda.get_device_capability(device)[0] >= 8
