"""The verdict on one result, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from imgpipe.records import Status

if TYPE_CHECKING:
    from imgpipe.pixels.round_trip import Float


class Severity(StrEnum):
    """Effect of a failed check: ``error`` rejects the image, ``warn`` warns, ``info`` is only recorded."""

    ERROR = "error"
    WARN = "warn"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Threshold:
    """A limit in force. ``direction``: ``min`` (value must not be below) or ``max`` (not above).

    ``margin``: how much worse than a Lanczos enlargement of the same source a value may be that misses it;
    0: not at all.
    """

    name: str
    value: float
    direction: str
    severity: Severity
    margin: float = 0.0

    def misses(self, value: float) -> bool:
        return value < self.value if self.direction == "min" else value > self.value

    def relaxed(self, reached: float | None) -> Threshold:
        """The same, or looser where a Lanczos enlargement has ``reached`` no more."""
        if reached is None or not self.margin:
            return self
        if self.direction == "min":
            return replace(self, value=min(self.value, reached - self.margin))
        return replace(self, value=max(self.value, reached + self.margin))


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One check. ``value`` is ``None`` where the metric could not be measured; it then passes.

    ``name`` is the threshold's name, ``threshold`` its value; ``message`` says what was found and what is
    allowed, which is more where no faithful enlargement of the source reaches the threshold.
    """

    name: str
    passed: bool
    severity: Severity
    value: float | None
    threshold: float
    message: str


@dataclass(frozen=True, slots=True)
class LineBox:
    """One detected line: its place (px of the result) and its scores."""

    x: int
    y: int
    width: int
    height: int
    coherence: float
    step: float

    @property
    def place(self) -> tuple[int, int, int, int]:
        return self.x, self.y, self.width, self.height

    def lower(self, other: LineBox) -> LineBox:
        """The same place with the lower of both scores."""
        return replace(self, coherence=min(self.coherence, other.coherence), step=min(self.step, other.step))

    def lies_in(self, other: LineBox) -> bool:
        """Whether this is a piece of the longer line ``other``."""
        return (
            max(other.width, other.height) > max(self.width, self.height)
            and other.x <= self.x
            and other.y <= self.y
            and self.x + self.width <= other.x + other.width
            and self.y + self.height <= other.y + other.height
        )


@dataclass(frozen=True, slots=True)
class LinesReport:
    """``score`` is the largest coherence excess (0..1), ``step`` the largest step excess (1/255).

    ``boxes``: lines above the thresholds, strongest first, without the pieces of a line that is there
    whole. ``mode``: ``grid``, ``blind`` or ``not_applicable``; ``note`` says why where it is not ``grid``.
    """

    score: float = 0.0
    step: float = 0.0
    boxes: tuple[LineBox, ...] = field(default=())
    mode: str = "not_applicable"
    note: str = ""


@dataclass(frozen=True, slots=True)
class EdgeBox:
    """Where edges are missing, px of the source, and the share lost (matte) or number of px (picture)."""

    x: int
    y: int
    width: int
    height: int
    kind: str
    value: float


@dataclass(frozen=True, slots=True)
class EdgeLossReport:
    """``score``: the worse of ``picture`` and ``matte`` (``None`` where that part could not be judged)."""

    picture: float | None = None
    matte: float | None = None
    boxes: tuple[EdgeBox, ...] = field(default=())

    @property
    def score(self) -> float | None:
        return max((part for part in (self.picture, self.matte) if part is not None), default=None)


@dataclass(frozen=True, slots=True)
class QualityReport:
    """Everything that :func:`imgpipe.quality.score.score` found.

    ``metrics``: finite numbers only; a metric that could not be measured is absent, and ``notes`` says
    why. ``identical``: the round trip equals the reference in every visible pixel, so that PSNR is
    infinite and absent. ``reasons``: messages of the failed checks, errors first; empty when all pass.
    ``differences``: with ``quality.diff`` those that the heat map shows
    (:func:`imgpipe.pixels.difference.difference`).
    """

    status: Status
    reasons: tuple[str, ...]
    metrics: Mapping[str, float]
    identical: bool
    lines: LinesReport
    edges: EdgeLossReport
    thresholds: Mapping[str, Threshold]
    checks: tuple[CheckResult, ...]
    profile: str
    seconds: Mapping[str, float]
    notes: tuple[str, ...] = field(default=())
    differences: Float | None = field(default=None, compare=False, repr=False)

    @property
    def failed(self) -> tuple[CheckResult, ...]:
        return tuple(check for check in self.checks if not check.passed)
