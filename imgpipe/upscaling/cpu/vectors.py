"""Vector operations for compiled functions that LLVM does not find by itself.

An address is an array and an index, as in :mod:`imgpipe.upscaling.cpu.tiles`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types

from imgpipe.upscaling.cpu.compiled import CHANNELS
from imgpipe.upscaling.cpu.instructions import LONG, element, emit, instruction

#: Neighbouring pixels that :func:`weigh_patches` sums at once; fewer leave the FMA pipeline waiting.
PATCHES = 4

_FLOAT, _INT, _SHORT = ir.FloatType(), ir.IntType(32), ir.IntType(16)
_LANES = 16
_FLOATS = ir.VectorType(_FLOAT, _LANES)
_LEVELS = 65535.0


class _Bfloat(ir.Type):  # type: ignore[misc]
    """LLVM's bfloat, which llvmlite does not define."""

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Bfloat)

    def __hash__(self) -> int:
        return hash(_Bfloat)


_BFLOATS = ir.VectorType(_Bfloat(), 32)


class _Memory:
    """An array in generated code: loads and stores vectors at ``array[index + offset]``."""

    def __init__(self, context: Any, builder: Any, kind: Any, array: Any, index: Any = None) -> None:
        self._builder = builder
        start = ir.Constant(LONG, 0) if index is None else index
        self._address = element(context, builder, kind, array, start)
        self._align = kind.dtype.bitwidth // 8

    def _at(self, offset: Any, kind: Any) -> Any:
        if isinstance(offset, int):
            offset = ir.Constant(LONG, offset)
        return self._builder.bitcast(self._builder.gep(self._address, [offset]), ir.PointerType(kind))

    def load(self, offset: Any, kind: Any) -> Any:
        return self._builder.load(self._at(offset, kind), align=self._align)

    def store(self, value: Any, offset: Any) -> None:
        self._builder.store(value, self._at(offset, value.type), align=self._align)


def _memories(context: Any, builder: Any, signature: Any, arguments: Any, *places: int) -> list[_Memory]:
    """The arguments at ``places``, arrays, each with the index that follows it where that is an integer."""
    kinds, found = signature.args, []
    for place in places:
        followed = place + 1 < len(kinds) and isinstance(kinds[place + 1], types.Integer)
        index = arguments[place + 1] if followed else None
        found.append(_Memory(context, builder, kinds[place], arguments[place], index))
    return found


def _same(builder: Any, value: Any, lanes: int) -> Any:
    """``value`` in each of ``lanes``."""
    return _chosen(builder, value, [0] * lanes)


def _chosen(builder: Any, vector: Any, lanes: list[int]) -> Any:
    """Those lanes of ``vector``; a single number has one."""
    if not isinstance(vector.type, ir.VectorType):
        single = ir.VectorType(vector.type, 1)
        vector = builder.insert_element(ir.Constant(single, ir.Undefined), vector, ir.Constant(_INT, 0))
    which = ir.Constant(ir.VectorType(_INT, len(lanes)), lanes)
    return builder.shuffle_vector(vector, ir.Constant(vector.type, ir.Undefined), which)


@instruction
def activate(
    typing_context: Any, sums: Any, first: Any, slopes: Any, channel: Any, target: Any, index: Any
) -> tuple[Any, Callable[..., Any]]:
    """32 float32 ``sums`` from ``first`` on as bf16 into ``target`` at ``index``, rounded to nearest even.

    Those below 0 are multiplied by their ``slopes``, of which ``channel`` is the first's. AVX512-BF16.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values_at, factors_at, target_at = _memories(context, builder, signature, arguments, 0, 2, 4)
        halves = []
        for offset in (0, _LANES):
            values, factors = values_at.load(offset, _FLOATS), factors_at.load(offset, _FLOATS)
            below = builder.fcmp_ordered("<", values, ir.Constant(_FLOATS, [0.0] * _LANES))
            halves.append(builder.select(below, builder.fmul(values, factors), values))
        # The second operand becomes the lower half.
        pair = emit(builder, "llvm.x86.avx512bf16.cvtne2ps2bf16.512", halves[::-1], _BFLOATS)
        target_at.store(pair, 0)
        return context.get_dummy_value()

    signature = types.void(sums, types.int64, slopes, types.int64, target, types.int64)
    return signature, generate


@instruction
def add_residual(
    typing_context: Any,
    sums: Any,
    first: Any,
    memory: Any,
    target: Any,
    near: Any,
    far: Any,
    scale: Any,
    far_scale: Any,
    far_share: Any,
) -> tuple[Any, Callable[..., Any]]:
    """32 float32 ``sums`` from ``first`` on, scaled and added to what they change, as bf16 at ``target``.

    (sum * ``scale`` + near) * ``far_scale`` + far * ``far_share``, near and far at distances from ``target``
    to bf16 values in the same ``memory``. Rounded to nearest even, once. AVX512-BF16.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        (sums_at,) = _memories(context, builder, signature, arguments, 0)
        (target_at,) = _memories(context, builder, signature, arguments, 2)
        whole, shorts = ir.VectorType(_INT, _LANES), ir.VectorType(_SHORT, _LANES)

        def bfloats(offset: Any) -> Any:
            bits = builder.zext(target_at.load(offset, shorts), whole)
            return builder.bitcast(builder.shl(bits, ir.Constant(whole, [16] * _LANES)), _FLOATS)

        scale, far_scale, far_share = (_same(builder, arguments[place], _LANES) for place in (6, 7, 8))
        halves = []
        for part in (0, _LANES):
            offset = ir.Constant(LONG, part)
            near, far = (bfloats(builder.add(arguments[place], offset)) for place in (4, 5))
            value = builder.fadd(builder.fmul(sums_at.load(part, _FLOATS), scale), near)
            value = builder.fadd(builder.fmul(value, far_scale), builder.fmul(far, far_share))
            halves.append(value)
        # The second operand becomes the lower half.
        pair = emit(builder, "llvm.x86.avx512bf16.cvtne2ps2bf16.512", halves[::-1], _BFLOATS)
        target_at.store(pair, 0)
        return context.get_dummy_value()

    number, factor = types.int64, types.float32
    return types.void(sums, number, memory, number, number, number, factor, factor, factor), generate


@instruction
def weigh_patches(
    typing_context: Any, pixels: Any, first: Any, row: Any, weights: Any, bias: Any, sums: Any
) -> tuple[Any, Callable[..., Any]]:
    """A 3x3 convolution of :data:`PATCHES` neighbours from 3 channels to 64, in float32, into ``sums``.

    ``pixels``: the first one's patch begins at ``first``, its rows are ``row`` values apart. ``weights``:
    (27 * 64,) by row, column, channel, output. ``bias``: (64,). ``sums``: (PATCHES * 64,).
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        at = [_memories(context, builder, signature, arguments, place)[0] for place in (0, 3, 4, 5)]
        pixels_at, weights_at, bias_at, sums_at = at
        parts = range(0, CHANNELS, _LANES)
        totals = [[bias_at.load(part, _FLOATS) for part in parts] for _ in range(PATCHES)]
        for tap in range(27):
            loaded = [weights_at.load(CHANNELS * tap + part, _FLOATS) for part in parts]
            start = builder.mul(arguments[2], ir.Constant(LONG, tap // 9))
            for patch, total in enumerate(totals):
                offset = builder.add(start, ir.Constant(LONG, tap % 9 + 3 * patch))
                value = _same(builder, pixels_at.load(offset, _FLOAT), _LANES)
                for index, weight in enumerate(loaded):
                    total[index] = emit(builder, "llvm.fma.v16f32", [value, weight, total[index]], _FLOATS)
        for patch, total in enumerate(totals):
            for part, value in zip(parts, total, strict=True):
                sums_at.store(value, CHANNELS * patch + part)
        return context.get_dummy_value()

    return types.void(pixels, types.int64, types.int64, weights, bias, sums), generate


def enlarged_pixel(factor: int) -> Any:
    """A function that makes ``factor`` x ``factor`` RGB levels of one source pixel, and their mean.

    Its arguments: ``detail`` and the index of the first of 3 * factor^2 float32 values by row, column,
    colour, to which the pixel of ``base`` at its own index is added; ``levels`` (uint16), the index of the
    first one and the distance from row to row; ``mean`` (float32) and its index. Levels are clipped
    and rounded half up. ``strange`` (3 * factor,) float32 becomes NaN for good where a value is not finite.
    """
    lanes = 3 * factor
    floats, shorts = ir.VectorType(_FLOAT, lanes), ir.VectorType(_SHORT, lanes)
    triple = ir.VectorType(_FLOAT, 3)

    def all_of(number: float) -> Any:
        return ir.Constant(floats, [number] * lanes)

    @instruction
    def enlarge(
        typing_context: Any,
        detail: Any,
        detail_index: Any,
        base: Any,
        base_index: Any,
        levels: Any,
        level_index: Any,
        across: Any,
        mean: Any,
        mean_index: Any,
        strange: Any,
    ) -> tuple[Any, Callable[..., Any]]:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            places = 0, 2, 4, 7, 9
            memories = _memories(context, builder, signature, arguments, *places)
            detail_at, base_at, levels_at, mean_at, strange_at = memories
            pixel = _chosen(builder, base_at.load(0, triple), [0, 1, 2] * factor)
            total, odd = all_of(0.0), strange_at.load(0, floats)
            for row in range(factor):
                value = builder.fadd(detail_at.load(row * lanes, floats), pixel)
                odd = builder.fadd(odd, builder.fmul(value, all_of(0.0)))
                for limit, beyond in ((0.0, ">"), (1.0, "<")):
                    inside = builder.fcmp_ordered(beyond, value, all_of(limit))
                    value = builder.select(inside, value, all_of(limit))
                total = builder.fadd(total, value)
                scaled = builder.fadd(builder.fmul(value, all_of(_LEVELS)), all_of(0.5))
                level = builder.trunc(builder.fptosi(scaled, ir.VectorType(_INT, lanes)), shorts)
                levels_at.store(level, builder.mul(arguments[6], ir.Constant(LONG, row)))
            strange_at.store(odd, 0)
            columns = [_chosen(builder, total, [at, at + 1, at + 2]) for at in range(0, lanes, 3)]
            whole = columns[0]
            for column in columns[1:]:
                whole = builder.fadd(whole, column)
            mean_at.store(builder.fmul(whole, ir.Constant(triple, [1 / factor**2] * 3)), 0)
            return context.get_dummy_value()

        number = types.int64
        signature = types.void(detail, number, base, number, levels, number, number, mean, number, strange)
        return signature, generate

    return enlarge
