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
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import llvmlite.binding
import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

#: ``arch_prctl`` asks Linux for the registers' state to be saved (Documentation/arch/x86/xstate.rst).
_SYS_ARCH_PRCTL, _ARCH_REQ_XCOMP_PERM, _XFEATURE_XTILEDATA = 158, 0x1023, 18
_NEEDED_FEATURES = ("amx-tile", "amx-bf16", "avx512f", "avx512bf16")
#: The first one whose instructions have the types that are written here.
_LEAST_LLVM = (20,)

_BYTE, _LONG = ir.IntType(8), ir.IntType(64)
_ADDRESS = ir.PointerType(_BYTE)
_FLOATS = ir.VectorType(ir.FloatType(), 16)


class _Bfloat(ir.Type):  # type: ignore[misc]
    """A type of LLVM that llvmlite has no name for."""

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Bfloat)

    def __hash__(self) -> int:
        return hash(_Bfloat)


_BFLOATS = ir.VectorType(_Bfloat(), 32)


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


def _instruction(function: Callable[..., Any]) -> Any:
    """numba's decorator, untyped: callers give the arguments after the first."""
    return intrinsic(function)


def _emit(builder: Any, name: str, arguments: Sequence[Any], result: Any = None) -> Any:
    signature = ir.FunctionType(result or ir.VoidType(), [argument.type for argument in arguments])
    module = builder.module
    return builder.call(module.globals.get(name) or ir.Function(module, signature, name), arguments)


def _element(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
    return builder.gep(context.make_array(kind)(context, builder, array).data, [index])


def _moving(name: str, register: int) -> Any:
    @_instruction
    def move(typing_context: Any, array: Any, index: Any, stride: Any) -> tuple[Any, Callable[..., Any]]:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            address = _element(context, builder, signature.args[0], *arguments[:2])
            address = builder.bitcast(address, _ADDRESS)
            _emit(builder, name, [ir.Constant(_BYTE, register), address, arguments[2]])
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

    @_instruction
    def multiply(typing_context: Any) -> tuple[Any, Callable[..., Any]]:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            registers = [ir.Constant(_BYTE, number) for number in (target, left, right)]
            _emit(builder, "llvm.x86.tdpbf16ps", registers)
            return context.get_dummy_value()

        return types.void(), generate

    return multiply


@_instruction
def configure(typing_context: Any, configuration: Any) -> tuple[Any, Callable[..., Any]]:
    """Set the registers' shapes for the calling thread, as in :func:`whole_tiles`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address = _element(context, builder, signature.args[0], arguments[0], ir.Constant(_LONG, 0))
        _emit(builder, "llvm.x86.ldtilecfg", [builder.bitcast(address, _ADDRESS)])
        return context.get_dummy_value()

    return types.void(configuration), generate


@_instruction
def release(typing_context: Any) -> tuple[Any, Callable[..., Any]]:
    """Give the registers back; a thread that keeps them makes each of its switches slower."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _emit(builder, "llvm.x86.tilerelease", [])
        return context.get_dummy_value()

    return types.void(), generate


@_instruction
def add_and_get(typing_context: Any, counters: Any, index: Any, more: Any) -> tuple[Any, Callable[..., Any]]:
    """Add ``more`` to one of int64 ``counters`` that threads share; what it was before.

    What a thread wrote before is seen by a thread that finds its addition.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address = _element(context, builder, signature.args[0], arguments[0], arguments[1])
        return builder.atomic_rmw("add", address, arguments[2], "acq_rel")

    return types.int64(counters, types.int64, types.int64), generate


@_instruction
def get(typing_context: Any, counters: Any, index: Any) -> tuple[Any, Callable[..., Any]]:
    """One of ``counters`` as it is now; what was written before it became so is seen afterwards."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address = _element(context, builder, signature.args[0], arguments[0], arguments[1])
        return builder.load_atomic(address, "acquire", 8)

    return types.int64(counters, types.int64), generate


@_instruction
def give_way(typing_context: Any) -> tuple[Any, Callable[..., Any]]:
    """Let another thread have this core, if one waits for it."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _emit(builder, "sched_yield", [], ir.IntType(32))
        return context.get_dummy_value()

    return types.void(), generate


@_instruction
def activate(
    typing_context: Any, sums: Any, first: Any, slopes: Any, channel: Any, target: Any, index: Any
) -> tuple[Any, Callable[..., Any]]:
    """32 float32 ``sums`` from ``first`` on as bf16 into ``target`` at ``index``, rounded to nearest even.

    Those below 0 are multiplied by their ``slopes``, of which ``channel`` is the first's.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def floats(argument: int, offset: int) -> Any:
            index = builder.add(arguments[argument + 1], ir.Constant(_LONG, offset))
            address = _element(context, builder, signature.args[argument], arguments[argument], index)
            return builder.load(builder.bitcast(address, ir.PointerType(_FLOATS)), align=4)

        halves = []
        for offset in (0, 16):
            values, factors = floats(0, offset), floats(2, offset)
            below = builder.fcmp_ordered("<", values, ir.Constant(_FLOATS, [0.0] * 16))
            halves.append(builder.select(below, builder.fmul(values, factors), values))
        # The second operand becomes the lower half.
        pair = _emit(builder, "llvm.x86.avx512bf16.cvtne2ps2bf16.512", halves[::-1], _BFLOATS)
        address = _element(context, builder, signature.args[4], arguments[4], arguments[5])
        builder.store(pair, builder.bitcast(address, ir.PointerType(_BFLOATS)), align=2)
        return context.get_dummy_value()

    signature = types.void(sums, types.int64, slopes, types.int64, target, types.int64)
    return signature, generate


@_instruction
def weigh_patch(
    typing_context: Any, pixels: Any, first: Any, row: Any, weights: Any, bias: Any, sums: Any
) -> tuple[Any, Callable[..., Any]]:
    """A 3x3 convolution of one pixel from 3 channels to 64, in float32: ``sums`` (64,).

    ``pixels``: the patch begins at ``first``, its rows are ``row`` values apart. ``weights``: (27 * 64,) by
    row, column, channel, output. ``bias``: (64,).
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kinds = signature.args
        vector = ir.PointerType(_FLOATS)

        def floats(argument: int, index: int) -> Any:
            place = ir.Constant(_LONG, index)
            address = _element(context, builder, kinds[argument], arguments[argument], place)
            return builder.bitcast(address, vector)

        totals = [builder.load(floats(4, 16 * part), align=4) for part in range(4)]
        for tap in range(27):
            offset = builder.mul(arguments[2], ir.Constant(_LONG, tap // 9))
            index = builder.add(builder.add(arguments[1], offset), ir.Constant(_LONG, tap % 9))
            value = builder.load(_element(context, builder, kinds[0], arguments[0], index))
            zero = ir.Constant(ir.IntType(32), 0)
            single = builder.insert_element(ir.Constant(_FLOATS, ir.Undefined), value, zero)
            lanes = ir.Constant(ir.VectorType(ir.IntType(32), 16), [0] * 16)
            values = builder.shuffle_vector(single, ir.Constant(_FLOATS, ir.Undefined), lanes)
            for part in range(4):
                weight = builder.load(floats(3, 64 * tap + 16 * part), align=4)
                totals[part] = _emit(builder, "llvm.fma.v16f32", [values, weight, totals[part]], _FLOATS)
        for part in range(4):
            builder.store(totals[part], floats(5, 16 * part), align=4)
        return context.get_dummy_value()

    return types.void(pixels, types.int64, types.int64, weights, bias, sums), generate
