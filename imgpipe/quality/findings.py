"""Metrics, notes and places that are collected while one result is measured."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from imgpipe.metrics import METRICS
from imgpipe.pixels.round_trip import Float
from imgpipe.quality.report import EdgeBox, LinesReport


@dataclass(slots=True)
class Findings:
    """Mutable; of two values of a metric, one per background, the worse is kept."""

    metrics: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    identical: bool = True
    lines: LinesReport = field(default_factory=LinesReport)
    boxes: tuple[EdgeBox, ...] = ()
    fine_boxes: tuple[EdgeBox, ...] = ()
    picture_loss: float | None = None
    differences: Float | None = None

    def add(self, name: str, value: float | None, otherwise: str = "") -> None:
        """Record a metric; ``None`` and infinite values are left out, with a note that says why."""
        if value is None or not math.isfinite(value):
            if otherwise:
                self.note(f"{name}: {otherwise}")
            return
        before = self.metrics.get(name)
        self.metrics[name] = value if before is None else METRICS[name].worse(before, value)

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Add the time of the block to the step's seconds."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[step] = self.seconds.get(step, 0.0) + time.perf_counter() - begin
