"""Whether this process can use the CPU's matrix unit (Intel AMX with bf16). Imports no numba."""

from __future__ import annotations

import ctypes
import platform
import sys
from functools import cache

import llvmlite.binding

#: ``arch_prctl`` asks Linux to save the tile registers (Documentation/arch/x86/xstate.rst).
_SYS_ARCH_PRCTL, _ARCH_REQ_XCOMP_PERM, _XFEATURE_XTILEDATA = 158, 0x1023, 18
_NEEDED_FEATURES = ("amx-tile", "amx-bf16", "avx512f", "avx512bf16")
#: The first LLVM whose intrinsics have the types that :mod:`imgpipe.upscaling.cpu.tiles` writes.
_LEAST_LLVM = (20,)


@cache
def is_usable() -> bool:
    """Whether CPU, compiler and kernel let this process multiply bf16 tiles.

    Asks the kernel for permission, which holds for the process from then on.
    """
    if not sys.platform.startswith("linux") or platform.machine() != "x86_64":
        return False
    features = llvmlite.binding.get_host_cpu_features()
    known = llvmlite.binding.llvm_version_info >= _LEAST_LLVM
    if not known or not all(features.get(name) for name in _NEEDED_FEATURES):
        return False
    permission = ctypes.CDLL(None).syscall(_SYS_ARCH_PRCTL, _ARCH_REQ_XCOMP_PERM, _XFEATURE_XTILEDATA)
    return bool(permission == 0)
