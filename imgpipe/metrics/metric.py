"""What a row of the metric table holds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

Severity = Literal["error", "warn", "info"]


@dataclass(frozen=True, slots=True)
class Limit:
    """One threshold of a metric, as a check applies it.

    ``direction``: ``min`` (the value must not be below) or ``max`` (not above). ``name``: its key in
    ``quality.thresholds``. ``check``: the Dagster check it belongs to. ``classical``, ``realesrgan``: its
    value in these profiles; ``lite``: that in the profile of the package's own networks where it is not
    ``classical``'s; ``network``: that of networks that are neither, where it is not ``realesrgan``'s.
    ``reason``: what is wrong where it is missed, with ``{}`` for the value, formatted by ``form``.
    ``lowest``, ``highest``: what may be configured; ``highest`` 0 means the metric's ``high``.
    ``calibrated``: whether ``imgpipe calibrate`` may propose another value. ``margin``: how much worse
    than a Lanczos enlargement of the same source a value may be that misses the limit; 0: not at all.
    ``metric``: set, like a ``highest`` of 0, in :data:`imgpipe.metrics.LIMITS`.
    """

    direction: Literal["min", "max"]
    name: str
    check: str
    classical: float
    realesrgan: float
    form: str
    reason: str
    lowest: float = 0.0
    highest: float = 0.0
    severity: Severity = "error"
    calibrated: bool = True
    margin: float = 0.0
    lite: float | None = None
    network: float | None = None
    metric: str = ""

    def message(self, value: float, threshold: float) -> str:
        """What is wrong, with the value that was found and the threshold that it misses."""
        found, limit = format(value, self.form), format(threshold, self.form)
        bound = f"at least {limit} needed" if self.direction == "min" else f"allowed {limit}"
        return f"{self.reason.format(found)}, {bound}"

    def default(self, profile: str) -> float:
        """The value in one of :data:`imgpipe.metrics.PROFILES`."""
        lite = self.classical if self.lite is None else self.lite
        network = self.realesrgan if self.network is None else self.network
        of_networks = {"network": network, "realesrgan": self.realesrgan}
        return {"classical": self.classical, "lite": lite, **of_networks}[profile]


at_least = partial(Limit, "min")
at_most = partial(Limit, "max")


@dataclass(frozen=True, slots=True)
class Metric:
    """One number that is measured per image.

    ``label``: the report's name for it. ``low``, ``high``: possible values, ``None`` = no bound.
    ``digits``: decimals that are shown; 0 for a count. ``better``: which way is good; ``target`` means close
    to 1. ``column``: the report orders its columns by this number, then as the table does.
    """

    name: str
    label: str
    meaning: str
    better: Literal["higher", "lower", "target", "none"]
    sees: str
    blind_to: str
    unit: str = ""
    low: float = 0.0
    high: float | None = 1.0
    digits: int = 3
    limits: tuple[Limit, ...] = ()
    column: int = 1

    @property
    def sign(self) -> int:
        """+1 where higher is better, -1 where lower is, 0 where neither is."""
        return {"higher": 1, "lower": -1}.get(self.better, 0)

    def worse(self, first: float, second: float) -> float:
        """The worse of two values: farther from 1 in ratio where 1 is the target."""
        if self.better == "higher":
            return min(first, second)
        if self.better == "target":
            return first if _distance(first) >= _distance(second) else second
        return max(first, second)


def _distance(ratio: float) -> float:
    return max(ratio, 1.0 / ratio) if ratio > 0 else float("inf")
