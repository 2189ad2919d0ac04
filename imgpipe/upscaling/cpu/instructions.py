"""LLVM instructions in compiled functions: how they are declared to numba, and those that threads use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

LONG = ir.IntType(64)


def instruction(function: Callable[..., Any]) -> Any:
    """numba's decorator, untyped: callers give the arguments after the first."""
    return intrinsic(function)


def emit(builder: Any, name: str, arguments: Sequence[Any], result: Any = None) -> Any:
    """Call LLVM's function ``name``, which gives nothing unless it is told to give a ``result``."""
    signature = ir.FunctionType(result or ir.VoidType(), [argument.type for argument in arguments])
    module = builder.module
    return builder.call(module.globals.get(name) or ir.Function(module, signature, name), arguments)


def element(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
    """The address of ``array[index]``; both are values of the function, ``kind`` is the array's type."""
    return builder.gep(context.make_array(kind)(context, builder, array).data, [index])


@instruction
def add_and_get(typing_context: Any, counters: Any, index: Any, more: Any) -> tuple[Any, Callable[..., Any]]:
    """Atomically add ``more`` to one of the shared int64 ``counters``; returns its old value.

    Acquire and release: what a thread wrote before is visible to a thread that reads the sum.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address = element(context, builder, signature.args[0], arguments[0], arguments[1])
        return builder.atomic_rmw("add", address, arguments[2], "acq_rel")

    return types.int64(counters, types.int64, types.int64), generate


@instruction
def get(typing_context: Any, counters: Any, index: Any) -> tuple[Any, Callable[..., Any]]:
    """Atomically read one of ``counters`` (acquire)."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address = element(context, builder, signature.args[0], arguments[0], arguments[1])
        return builder.load_atomic(address, "acquire", 8)

    return types.int64(counters, types.int64), generate


@instruction
def give_way(typing_context: Any) -> tuple[Any, Callable[..., Any]]:
    """Yield the core to another thread that waits for it."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        emit(builder, "sched_yield", [], ir.IntType(32))
        return context.get_dummy_value()

    return types.void(), generate
