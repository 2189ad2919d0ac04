"""From a network's output to the wanted picture: colours, size and bit depth, in one pass over its rows.

A row of the result is made as soon as the rows around it have come, so that neither the network's own
enlargement nor a correction is ever whole in memory. Everything happens in float32 on strips of rows, on all
cores; the result is rounded once, at the end. It is the same, bit by bit, however many rows come at a time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from imgpipe.images.image import Pixels
from imgpipe.inference.threads import network_threads
from imgpipe.pixels.axis_filter import AxisFilter
from imgpipe.pixels.bilinear import enlarged_rows, rows_between
from imgpipe.pixels.round_trip import average_rows, rows_covered
from imgpipe.pixels.row_window import RowWindow
from imgpipe.pixels.strips import spans
from imgpipe.upscaling.color_match import (
    REACH_ROWS,
    ColorShift,
    Floats,
    color_correction,
    has_even_sides,
    low_frequency_difference,
)
from imgpipe.upscaling.network import NATIVE_MAX, Answer, Finishing, Native
from imgpipe.upscaling.network_input import NetworkInput

#: Pixels of the result that a thread works on at once: they stay in its core's cache.
STRIP_PIXELS = 2**17
#: Pixels, and at least rows, of the source whose correction is computed at once.
_BAND_PIXELS, _BAND_ROWS = 2**20, 128
#: Rows of the source that the result is reduced to at once.
_REDUCED_ROWS = 32
#: A mean colour shift up to this is left after the final resize, 1/255.
_TOLERATED_SHIFT_255 = 0.03


class _Pass:
    """What is corrected by one comparison with the source: ``round_trip`` (h, w, 3) comes row by row.

    ``target``: (height, width, 3 or 1) of the result. ``before``: the pass whose correction this one adds to.
    """

    def __init__(
        self, source: NetworkInput, target: Pixels, color_match: bool, before: _Pass | None = None
    ) -> None:
        self.source, self.target, self.before = source, target, before
        self.round_trip = RowWindow(source.shape)
        self.correction = RowWindow(source.shape) if color_match else None
        self.corrected = 0
        self.shift, self.largest = ColorShift(), 0.0
        self.made = 0  # rows of the result
        self._reach = 0 if not color_match else 2 * REACH_ROWS if before is None else REACH_ROWS
        self._band_rows = max(_BAND_ROWS, _BAND_PIXELS // source.shape[1] // 2 * 2)
        self._halve = has_even_sides(source.shape)

    def correct(self) -> bool:
        """Correct the next rows of the source; False where not enough has come for any."""
        height = self.source.shape[0]
        come = self.round_trip.stop
        known = height if come == height else (come - self._reach) // 2 * 2
        own = slice(self.corrected, min(known, self.corrected + self._band_rows))
        if own.stop <= own.start:
            return False
        around = slice(max(0, own.start - self._reach), min(height, own.stop + self._reach))
        inner = slice(own.start - around.start, own.stop - around.start)
        source, round_trip = self.source[around, :], self.round_trip[around]
        alpha = self.source.alpha(around)
        self.shift.add(source[inner], round_trip[inner], None if alpha is None else alpha[inner])
        if self.correction is not None:
            compute = color_correction if self.before is None else low_frequency_difference
            correction = compute(source, round_trip, alpha, halve=self._halve)[inner].copy()
            if self.before is not None and self.before.correction is not None:
                correction = self.before.correction[own] + correction
            self.largest = max(self.largest, float(np.abs(correction).max()))
            self.correction.append(correction)
        self.corrected = own.stop
        self.round_trip.drop(self.corrected - self._reach)
        return True

    def needs(self) -> int:
        """The first row of the source whose correction is still needed for the result."""
        height, source_height = self.target.shape[0], self.source.shape[0]
        if self.made == height:
            return source_height
        return int(rows_between(source_height, height, slice(self.made, self.made + 1)).start)


class Finisher:
    """Makes ``target`` (height, width, 3 or 1) of uint8 or uint16 from what a network makes of ``source``.

    ``color_match``: adds what the network's colours lack. ``refine``: where that was for another size than
    the result's, and the result is not smaller than the source, what then still differs is measured on the
    result and corrected in turn: Lanczos overshoots at hard edges and is clipped there, which shifts the mean
    again. A target of one channel is the mean of three. Other sizes than the native one are reached by
    antialiased Lanczos. A device may have done all of it for the native size.
    """

    def __init__(
        self,
        source: NetworkInput,
        scale: int,
        target: Pixels,
        *,
        color_match: bool,
        refine: bool = False,
    ) -> None:
        self.seconds = {"color_match": 0.0, "finish": 0.0}
        self._source, self._target, self._color_match = source, target, color_match
        height, width = target.shape[:2]
        self._native_shape = (source.shape[0] * scale, source.shape[1] * scale, 3)
        same_size = self._native_shape[:2] == (height, width)
        self._vertical = None if same_size else AxisFilter(self._native_shape[0], height)
        self._horizontal = None if same_size else AxisFilter(self._native_shape[1], width)
        shrinks = width < source.shape[1] or height < source.shape[0]
        self._refined = (
            np.empty_like(target) if refine and color_match and not same_size and not shrinks else None
        )
        self._full = float(np.iinfo(target.dtype).max)
        strip_rows = max(1, STRIP_PIXELS // max(width, self._native_shape[1]))
        self._strips = list(spans(0, height, strip_rows))
        self._closing = ExitStack()
        self._pool = self._closing.enter_context(
            ThreadPoolExecutor(network_threads(), thread_name_prefix="imgpipe-finish")
        )
        self._begin()

    def __enter__(self) -> Finisher:
        return self

    def __exit__(self, *error: object) -> None:
        self._closing.close()

    def _begin(self) -> None:
        self._on_device: Answer | None = None
        self._native = RowWindow(self._native_shape)
        self._first = _Pass(self._source, self._target, self._color_match)
        self._second: _Pass | None = None
        if self._refined is not None:
            self._second = _Pass(self._source, self._refined, True, self._first)
        #: First row of a strip -> its values before any correction, until the second pass has used them.
        self._kept: dict[int, Floats] = {}

    @property
    def finishing(self) -> Finishing | None:
        """See :class:`imgpipe.upscaling.tile_runner.Receiver`."""
        if self._vertical is not None or self._target.shape[2] != 3:
            return None
        return Finishing(self._target.dtype.itemsize * 8, self._color_match)

    def take_finished(self, answer: Answer) -> None:
        """See :class:`imgpipe.upscaling.tile_runner.Receiver`."""
        with self._timed("finish"):
            self._target[...] = answer.levels
        self._on_device = answer

    def done(self) -> None:
        """All rows have come."""
        second, refined = self._second, self._refined
        if second is None or refined is None or second.shift.largest_255 <= _TOLERATED_SHIFT_255:
            return
        for rows in self._strips:
            self._target[rows] = refined[rows]

    @property
    def shift_255(self) -> float:
        """The network's largest mean colour shift, 1/255."""
        return self._on_device.shift_255 if self._on_device else self._first.shift.largest_255

    @property
    def correction_255(self) -> float:
        """The largest correction of the network's colours, 1/255."""
        return self._on_device.correction_255 if self._on_device else self._first.largest * 255

    def take(self, first: int, levels: Native, mean: Floats) -> None:
        """See :class:`imgpipe.upscaling.tile_runner.Receiver`."""
        if first == 0:
            self._begin()
        self._native.append(levels)
        self._first.round_trip.append(mean)
        self._advance(self._first)

    def _advance(self, one: _Pass) -> None:
        """Make what can be made of the rows that have come."""
        begun = True
        while begun:
            with self._timed("color_match"):
                begun = one.correct()
            with self._timed("finish"):
                self._make(one)
            if one is self._first and self._second is not None:
                self._reduce(self._second)
                self._advance(self._second)
            self._let_go()

    def _make(self, one: _Pass) -> None:
        ready = list(self._ready(one))
        for _ in self._pool.map(lambda rows: self._make_strip(one, rows), ready):
            pass  # an exception of a strip is raised here
        if ready:
            one.made = ready[-1].stop

    def _ready(self, one: _Pass) -> Iterator[slice]:
        """The next strips whose values and corrections are there."""
        source_height, height = self._source.shape[0], self._target.shape[0]
        for rows in self._strips[-(-one.made // self._strips[0].stop) :]:
            if self._native_rows(rows).stop > self._native.stop:
                return
            if rows_between(source_height, height, rows).stop > one.corrected:
                return
            yield rows

    def _native_rows(self, rows: slice) -> slice:
        return rows if self._vertical is None else self._vertical.needs(rows)

    def _make_strip(self, one: _Pass, rows: slice) -> None:
        values = self._values(rows) if one is self._first else self._kept.pop(rows.start)
        if one is self._first and self._second is not None:
            self._kept[rows.start] = values
            values = values.copy()
        height, width = self._target.shape[:2]
        if one.correction is not None:
            values += enlarged_rows(one.correction, width, height, rows) * self._full
        values += 0.5  # with the cast, which cuts off, this rounds half up
        np.clip(values, 0.0, self._full, out=values)
        if one.target.shape[2] == 1:
            levels: Any = values.astype(self._target.dtype)
            one.target[rows] = mean_of_channels(levels)
        else:
            one.target[rows] = values

    def _values(self, rows: slice) -> Floats:
        """The network's picture at its final size, on the levels of the result."""
        native: npt.NDArray[Any] = self._native[self._native_rows(rows)]
        if self._vertical is not None and self._horizontal is not None:
            native = self._horizontal.along_columns(
                self._vertical.along_rows(native.astype(np.float32), rows)
            )
        values = native.astype(np.float32, copy=False)  # a copy: levels are integers
        values *= self._full / NATIVE_MAX
        return values

    def _reduce(self, second: _Pass) -> None:
        """The first pass's rows at the source's size, by an area filter, for the second to compare."""
        (height, width, _), own_height = self._source.shape, self._target.shape[0]
        stop = self._first.made * height // own_height
        if stop < height:
            stop -= stop % _REDUCED_ROWS
        for rows in spans(second.round_trip.stop, stop, _REDUCED_ROWS):
            top, bottom = rows_covered(rows.start, rows.stop, own_height, height)
            reduced = np.empty((rows.stop - rows.start, width, 3), np.float32)
            for channel in range(3):
                plane = self._target[top:bottom, :, channel].astype(np.float32)
                span = (rows.start, rows.stop)
                reduced[..., channel] = average_rows(plane, width, span, top, own_height / height)
            reduced /= np.float32(self._full)
            second.round_trip.append(reduced)

    def _let_go(self) -> None:
        first, second = self._first, self._second
        if first.made < self._target.shape[0]:
            self._native.drop(self._native_rows(slice(first.made, first.made + 1)).start)
        if first.correction is not None:
            first.correction.drop(first.needs() if second is None else min(first.needs(), second.corrected))
        if second is not None and second.correction is not None:
            second.correction.drop(second.needs())

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        begin = time.perf_counter()
        yield
        self.seconds[name] += time.perf_counter() - begin


def mean_of_channels(levels: Pixels) -> Pixels:
    """(h, w, 3) -> (h, w, 1), rounded half up."""
    total = levels.sum(axis=2, dtype=np.uint32, keepdims=True)
    mean: npt.NDArray[Any] = ((2 * total + 3) // 6).astype(levels.dtype)
    return mean
