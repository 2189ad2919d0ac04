"""Intel's Advanced Matrix Extensions for numba: eight tile registers of 16 rows x 64 bytes.

Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, chapter 18. A register holds 16x32
bf16 values or 16x16 float32 sums; one instruction multiplies two of them into a third. Compiled functions
call the functions of this module like their own; an address is an array and an index.

A block of sums, 32 pixels x 32 outputs, uses all eight: registers 0 to 3 hold sums (pixels 0 to 15 and 16 to
31 times outputs 0 to 15 and 16 to 31), 4 and 5 the pixels, 6 and 7 the filter.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types

from imgpipe.upscaling.cpu.instructions import LONG, element, emit, instruction

#: Pixels and outputs of a block, and its sums.
BLOCK_PX, BLOCK_OUTPUTS = 32, 32
SUMS = BLOCK_PX * BLOCK_OUTPUTS
#: A register's values of a filter: 16 pairs of inputs x 16 outputs x 2.
TILE = 512
LINE_BYTES = 64
#: Rows of a register, and float32 sums of a row.
_ROWS = 16

_LOAD, _STORE = "llvm.x86.tileloadd64", "llvm.x86.tilestored64"
_BYTE = ir.IntType(8)
_ADDRESS = ir.PointerType(_BYTE)


def whole_tiles() -> npt.NDArray[np.uint8]:
    """The configuration in which all eight registers are 16 rows x 64 bytes, for :func:`configure`."""
    configuration = np.zeros(64, np.uint8)
    configuration[0] = 1  # palette
    configuration[16:32].view(np.uint16)[:] = 64  # bytes of a row
    configuration[48:56] = 16  # rows
    return configuration


def _long(value: int) -> Any:
    return ir.Constant(LONG, value)


def _move(name: str, register: int, builder: Any, address: Any, stride: Any) -> None:
    """A register's rows to or from memory, ``stride`` bytes apart."""
    emit(builder, name, [ir.Constant(_BYTE, register), builder.bitcast(address, _ADDRESS), stride])


@instruction
def begin_sums(typing_context: Any, bias: Any, channel: Any) -> tuple[Any, Callable[..., Any]]:
    """Set a block's sums to the float32 ``bias`` of 32 outputs, the first of which is ``channel``."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, channel = arguments
        for register in range(4):
            first = builder.add(channel, _long(register % 2 * _ROWS), flags=["nsw"])
            address = element(context, builder, signature.args[0], array, first)
            _move(_LOAD, register, builder, address, _long(0))
        return context.get_dummy_value()

    return types.void(bias, types.int64), generate


@instruction
def store_sums(typing_context: Any, target: Any, index: Any, pixel: Any) -> tuple[Any, Callable[..., Any]]:
    """Write a block's sums to float32 ``target`` from ``index`` on; pixels are ``pixel`` values apart."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, index, pixel = arguments
        for register in range(4):
            start = builder.mul(pixel, _long(register // 2 * _ROWS))
            start = builder.add(start, _long(register % 2 * _ROWS))
            start = builder.add(index, start, flags=["nsw"])
            address = element(context, builder, signature.args[0], array, start)
            _move(_STORE, register, builder, address, builder.mul(pixel, _long(4)))
        return context.get_dummy_value()

    return types.void(target, types.int64, types.int64), generate


@instruction
def load_factors(
    typing_context: Any, memory: Any, left: Any, first: Any, pixel: Any, filters: Any, at: Any
) -> tuple[Any, Callable[..., Any]]:
    """Load 32 inputs of a block's pixels, from input ``first`` on, and their filter, all bf16.

    ``memory``: the first pixel begins at ``left``, pixels are ``pixel`` values apart. ``filters``: the two
    registers' values from ``at`` on.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, left, first, pixel, weights, at = arguments
        kind, weights_kind = signature.args[0], signature.args[4]
        for register in (4, 5):
            start = builder.add(left, builder.mul(pixel, _long((register - 4) * _ROWS)), flags=["nsw"])
            start = builder.add(start, first, flags=["nsw"])
            address = element(context, builder, kind, array, start)
            _move(_LOAD, register, builder, address, builder.mul(pixel, _long(2)))
        for register in (6, 7):
            start = builder.add(at, _long((register - 6) * TILE), flags=["nsw"])
            address = element(context, builder, weights_kind, weights, start)
            _move(_LOAD, register, builder, address, _long(LINE_BYTES))
        return context.get_dummy_value()

    number = types.int64
    return types.void(memory, number, number, number, filters, number), generate


def _product(target: int, left: int, right: int) -> Any:
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


add_product_0, add_product_1 = _product(0, 4, 6), _product(1, 4, 7)
add_product_2, add_product_3 = _product(2, 5, 6), _product(3, 5, 7)


@instruction
def configure(typing_context: Any, configuration: Any) -> tuple[Any, Callable[..., Any]]:
    """Set the registers' shapes for the calling thread, as in :func:`whole_tiles`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address = element(context, builder, signature.args[0], arguments[0], _long(0))
        emit(builder, "llvm.x86.ldtilecfg", [builder.bitcast(address, _ADDRESS)])
        return context.get_dummy_value()

    return types.void(configuration), generate


@instruction
def release(typing_context: Any) -> tuple[Any, Callable[..., Any]]:
    """Release the registers: a thread that keeps them makes its context switches slower."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        emit(builder, "llvm.x86.tilerelease", [])
        return context.get_dummy_value()

    return types.void(), generate
