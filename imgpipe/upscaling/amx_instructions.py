"""Intel's Advanced Matrix Extensions for numba: eight tile registers of 16 rows x 64 bytes.

Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, chapter 18. A register holds 16x32
bf16 values or 16x16 float32 sums; one instruction multiplies two of them into a third. Compiled functions
call what is defined here as they would call a function of their own; an address is an array and an index,
a stride is in bytes.
"""

from __future__ import annotations

import ctypes
import platform
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import llvmlite.binding
import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types

from imgpipe.upscaling.instructions import LONG, element, emit, instruction

#: ``arch_prctl`` asks Linux for the registers' state to be saved (Documentation/arch/x86/xstate.rst).
_SYS_ARCH_PRCTL, _ARCH_REQ_XCOMP_PERM, _XFEATURE_XTILEDATA = 158, 0x1023, 18
_NEEDED_FEATURES = ("amx-tile", "amx-bf16", "avx512f", "avx512bf16")
#: The first one whose instructions have the types that are written here.
_LEAST_LLVM = (20,)

_BYTE = ir.IntType(8)
_ADDRESS = ir.PointerType(_BYTE)


@cache
def amx_is_usable() -> bool:
    """Whether this process may multiply bf16 tiles: CPU, compiler and kernel. Asks the kernel for leave."""
    if not sys.platform.startswith("linux") or platform.machine() != "x86_64":
        return False
    features = llvmlite.binding.get_host_cpu_features()
    known = llvmlite.binding.llvm_version_info >= _LEAST_LLVM
    if not known or not all(features.get(name) for name in _NEEDED_FEATURES):
        return False
    permission = ctypes.CDLL(None).syscall(_SYS_ARCH_PRCTL, _ARCH_REQ_XCOMP_PERM, _XFEATURE_XTILEDATA)
    return bool(permission == 0)


def whole_tiles() -> npt.NDArray[np.uint8]:
    """The configuration in which all eight registers are 16 rows x 64 bytes, for :func:`configure`."""
    configuration = np.zeros(64, np.uint8)
    configuration[0] = 1  # palette
    configuration[16:32].view(np.uint16)[:] = 64  # bytes of a row
    configuration[48:56] = 16  # rows
    return configuration


def _moving(name: str, register: int) -> Any:
    @instruction
    def move(typing_context: Any, array: Any, index: Any, stride: Any) -> tuple[Any, Callable[..., Any]]:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            address = element(context, builder, signature.args[0], *arguments[:2])
            address = builder.bitcast(address, _ADDRESS)
            emit(builder, name, [ir.Constant(_BYTE, register), address, arguments[2]])
            return context.get_dummy_value()

        return types.void(array, types.int64, types.int64), generate

    return move


def tile_load(register: int) -> Any:
    """A function of (array, index, stride) that fills ``register`` with 16 rows."""
    return _moving("llvm.x86.tileloadd64", register)


def tile_store(register: int) -> Any:
    """A function of (array, index, stride) that writes the 16 rows of ``register``."""
    return _moving("llvm.x86.tilestored64", register)


def tile_product(target: int, left: int, right: int) -> Any:
    """A function that adds the product of two registers of bf16 to the float32 sums in ``target``.

    Row r, column c: the sum over k of left[r][k] * right[k // 2][2 c + k % 2].
    """

    @instruction
    def multiply(typing_context: Any) -> tuple[Any, Callable[..., Any]]:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            registers = [ir.Constant(_BYTE, number) for number in (target, left, right)]
            emit(builder, "llvm.x86.tdpbf16ps", registers)
            return context.get_dummy_value()

        return types.void(), generate

    return multiply


@instruction
def configure(typing_context: Any, configuration: Any) -> tuple[Any, Callable[..., Any]]:
    """Set the registers' shapes for the calling thread, as in :func:`whole_tiles`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address = element(context, builder, signature.args[0], arguments[0], ir.Constant(LONG, 0))
        emit(builder, "llvm.x86.ldtilecfg", [builder.bitcast(address, _ADDRESS)])
        return context.get_dummy_value()

    return types.void(configuration), generate


@instruction
def release(typing_context: Any) -> tuple[Any, Callable[..., Any]]:
    """Give the registers back; a thread that keeps them makes each of its switches slower."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        emit(builder, "llvm.x86.tilerelease", [])
        return context.get_dummy_value()

    return types.void(), generate
