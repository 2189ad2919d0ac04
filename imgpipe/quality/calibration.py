"""Proposes thresholds from the scores of a data set's own images.

A target rate of rejected images is split over the k checks that can reject: if they are independent, which is
the worst case, each may reject 1 - (1 - rate)^(1/k). Where that is ten images or more, the threshold is the
empirical quantile. Where there are fewer, a quantile would depend on a single image, so the tail is estimated
from the middle of the distribution instead, by the more lenient of two models: a normal one, whose scale is
the larger of 1.4826 times that side's median absolute deviation and the distance of its 10% quantile over
1.2816, and an exponential one through its 25% and 10% quantiles, for skewed scores. Damaged images hardly
change either, as long as they are fewer than a tenth.

No threshold is moved to let single images pass that lie far from the others: where more are rejected than the
target, :attr:`Calibration.above_target` says so.

A score without spread (a coherence that is 0 on every image) keeps its threshold, and so does one whose limit
is a definition (the subject's share).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from imgpipe.errors import ConfigError
from imgpipe.metrics import LIMITS
from imgpipe.quality.report import Severity, Threshold

Values = npt.NDArray[np.float64]

#: Minimum number of images for an estimate of a tail.
MIN_IMAGES = 20
_QUANTILE_FROM_IMAGES = 10.0
_DIGITS = 3
_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Proposal:
    """One threshold: ``current`` and ``proposed`` value, over ``measured`` images, and how many fail each.

    ``method``: ``quantile``, ``tail`` or ``kept``.
    """

    name: str
    metric: str
    direction: str
    severity: Severity
    current: float
    proposed: float
    measured: int
    fail_now: int
    fail_then: int
    method: str


@dataclass(frozen=True, slots=True)
class Calibration:
    """All proposals, and how many of ``images`` the checks of severity error reject, now and with them.

    ``reject_rate``: the target, as a share.
    """

    proposals: tuple[Proposal, ...]
    images: int
    reject_rate: float
    rejected_now: int
    rejected_then: int

    @property
    def above_target(self) -> bool:
        """Whether the proposals reject more images than the target, by more than one image's rounding."""
        return self.rejected_then > max(1.0, self.reject_rate * self.images)

    def thresholds(self) -> dict[str, float]:
        """The proposed values that differ from those in force."""
        return {one.name: one.proposed for one in self.proposals if one.proposed != one.current}


def calibrate(
    images: Sequence[Mapping[str, float]], thresholds: Mapping[str, Threshold], *, reject_rate: float = 0.01
) -> Calibration:
    """Proposals for every threshold in force, from each image's metrics (absent = not measured).

    ``reject_rate``: the share of images that may be rejected, 0 < rate < 1. Raises :class:`ConfigError` for
    another rate and below 20 images.
    """
    if not 0.0 < reject_rate < 1.0:
        raise ConfigError(f"--reject-rate: expected a share between 0 and 1, as in 0.01, got {reject_rate:g}")
    if len(images) < MIN_IMAGES:
        raise ConfigError(
            f"calibration needs at least {MIN_IMAGES} scored images, got {len(images)}: score more, or set "
            "quality.thresholds by hand"
        )
    columns = {name: _column(images, LIMITS[name].metric) for name in thresholds}
    rejecting = [
        name
        for name, column in columns.items()
        if thresholds[name].severity is Severity.ERROR and np.isfinite(column).sum() >= MIN_IMAGES
    ]
    each = 1.0 - (1.0 - reject_rate) ** (1.0 / max(1, len(rejecting)))
    proposals = tuple(_propose(thresholds[name], column, each) for name, column in columns.items())
    errors = [one for one in proposals if one.severity is Severity.ERROR]
    return Calibration(
        proposals,
        len(images),
        reject_rate,
        _rejected([(columns[one.name], one.direction, one.current) for one in errors]),
        _rejected([(columns[one.name], one.direction, one.proposed) for one in errors]),
    )


def _column(images: Sequence[Mapping[str, float]], metric: str) -> Values:
    return np.array([image.get(metric, math.nan) for image in images], np.float64)


def _propose(threshold: Threshold, column: Values, share: float) -> Proposal:
    known = column[np.isfinite(column)]
    value, method = threshold.value, "kept"
    if LIMITS[threshold.name].calibrated and known.size >= MIN_IMAGES:
        found = _tail_value(known, threshold.direction, share)
        if found is not None:
            value, method = _as_threshold(found[0], threshold), found[1]
    return Proposal(
        threshold.name,
        LIMITS[threshold.name].metric,
        threshold.direction,
        threshold.severity,
        threshold.value,
        value,
        int(known.size),
        int(fails(known, threshold.direction, threshold.value).sum()),
        int(fails(known, threshold.direction, value).sum()),
        method,
    )


def fails(values: Values, direction: str, threshold: float) -> npt.NDArray[np.bool_]:
    """Which values lie beyond the threshold; NaN never does."""
    beyond: npt.NDArray[np.bool_] = values < threshold if direction == "min" else values > threshold
    return beyond


def _tail_value(values: Values, direction: str, share: float) -> tuple[float, str] | None:
    """(value that ``share`` of the images lie beyond, how it was found); ``None`` without spread."""
    sign = -1.0 if direction == "min" else 1.0
    outward = sign * values  # large is bad
    if share * values.size >= _QUANTILE_FROM_IMAGES:
        return sign * float(np.quantile(outward, 1.0 - share, method="higher")), "quantile"
    median, upper, decile = (float(np.quantile(outward, q)) for q in (0.5, 0.75, 0.9))
    side = outward[outward >= median] - median
    scale = max(1.4826 * float(np.median(side)), (decile - median) / _NORMAL.inv_cdf(0.9))
    if scale <= 1e-9 * max(1.0, abs(median)):
        return None
    normal = median + _NORMAL.inv_cdf(1.0 - share) * scale
    exponential = decile + (decile - upper) / math.log(0.25 / 0.1) * math.log(max(0.1 / share, 1.0))
    return sign * max(normal, exponential), "tail"


def _as_threshold(value: float, threshold: Threshold) -> float:
    """Rounded to the lenient side, to three digits (of 1 - value for shares), in the allowed range."""
    limit = LIMITS[threshold.name]
    low, high = limit.lowest, limit.highest
    distance = 1.0 - value if threshold.direction == "min" and high == 1.0 else abs(value)
    step = 10.0 ** (math.floor(math.log10(max(distance, 1e-6))) - _DIGITS + 1)
    rounded = math.floor(value / step) if threshold.direction == "min" else math.ceil(value / step)
    return float(min(max(round(rounded * step, 9), low), high))


def _rejected(checks: Sequence[tuple[Values, str, float]]) -> int:
    failed = [fails(column, direction, threshold) for column, direction, threshold in checks]
    return int(np.any(failed, axis=0).sum()) if failed else 0


def text_histogram(values: Values, lines: Mapping[str, float], *, width: int = 60) -> tuple[str, str]:
    """(bars, marks), each of ``width`` characters: a histogram, and below it a letter for each of ``lines``.

    ``lines``: one-letter sign -> value. The range holds all lines and all but 1% of the values at each end;
    what lies outside is counted in the outermost bars.
    """
    low, high = np.quantile(values, [0.01, 0.99])
    low, high = min(float(low), *lines.values()), max(float(high), *lines.values())
    if high <= low:
        low, high = low - 0.5, high + 0.5
    place = np.clip(((values - low) / (high - low) * width).astype(int), 0, width - 1)
    counts = np.bincount(place, minlength=width)
    blocks = " ▁▂▃▄▅▆▇█"
    # The height is the root of the count, so that single images stay visible beside hundreds.
    heights = np.ceil(np.sqrt(counts / counts.max()) * (len(blocks) - 1)).astype(int)
    marks = [" "] * width
    for sign, value in lines.items():
        marks[min(width - 1, int((value - low) / (high - low) * width))] = sign
    return "".join(blocks[height] for height in heights), "".join(marks)
