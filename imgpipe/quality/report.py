"""The verdict on one result, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from imgpipe.records import Status

if TYPE_CHECKING:  # they load OpenCV, which verdicts, thresholds and documents do not need
    from imgpipe.quality.edge_pixel_loss import EdgeLossReport
    from imgpipe.quality.line_report import LinesReport


class Severity(StrEnum):
    """Effect of a failed check: ``error`` rejects the image, ``warn`` warns, ``info`` is only recorded."""

    ERROR = "error"
    WARN = "warn"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Threshold:
    """A limit in force. ``direction``: ``min`` (value must not be below) or ``max`` (not above)."""

    name: str
    value: float
    direction: str
    severity: Severity


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One check. ``value`` is ``None`` where the metric could not be measured; it then passes.

    ``name`` is the threshold's name; ``message`` says what was found and what is allowed.
    """

    name: str
    passed: bool
    severity: Severity
    value: float | None
    threshold: float
    message: str


@dataclass(frozen=True, slots=True)
class QualityReport:
    """Everything that :func:`imgpipe.quality.score.score` found.

    ``metrics``: finite numbers only; a metric that could not be measured is absent, and ``notes`` says
    why. ``identical``: the round trip equals the reference in every visible pixel, so that PSNR is
    infinite and absent. ``reasons``: messages of the failed checks, errors first; empty when all pass.
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

    @property
    def failed(self) -> tuple[CheckResult, ...]:
        return tuple(check for check in self.checks if not check.passed)
