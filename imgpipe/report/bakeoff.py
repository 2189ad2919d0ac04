"""The page of ``imgpipe compare``: one file that holds its pictures, under the report's style and policy."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import escape
from typing import Any

from imgpipe.metrics.truth import TRUTH
from imgpipe.names import counted
from imgpipe.records import Status
from imgpipe.report.metrics import describe, in_reading_order, shown
from imgpipe.report.page import fill_page
from imgpipe.report.payload import to_script_json

#: Steps of the engine around a stage's own.
_AROUND = ("read", "decode", "encode", "write")
_ENGINE = (*_AROUND, "compute")


@dataclass(frozen=True, slots=True)
class Shown:
    """``data:`` addresses of a picture and of the part where the candidates differ most."""

    whole: str
    part: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a candidate made of a picture. ``status``, ``why``, ``scores``: the verdict's.

    ``seconds``: by step of the engine (``compute`` is the whole stage) and of the stage. ``megapixels``: of
    the source. ``peak_bytes``: the process's largest resident set while the stage ran. ``truth``: the
    metrics of :data:`imgpipe.metrics.truth.TRUTH`, empty without a truth.
    """

    status: str
    why: str = ""
    notes: tuple[str, ...] = ()
    model: str = ""
    fallback: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)
    megapixels: float = 0.0
    peak_bytes: int | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    truth: Mapping[str, float | None] = field(default_factory=dict)
    shown: Shown | None = None


@dataclass(frozen=True, slots=True)
class Entrant:
    """A candidate: its name, as it was given, and how long its model took to load; ``failed``: why it did
    not."""

    label: str
    text: str
    load_seconds: float | None = None
    failed: str = ""


@dataclass(frozen=True, slots=True)
class Subject:
    """A picture of the sample; ``outcomes``: one per entrant. ``notes``: what could not be read. ``part``:
    (width, height) of the part that is shown, px of the source; 0 where there is none."""

    name: str
    width: int
    height: int
    part: tuple[float, float]
    source: Shown | None
    truth: Shown | None
    notes: tuple[str, ...]
    outcomes: Sequence[Outcome]


@dataclass(frozen=True, slots=True)
class Bakeoff:
    """Everything that the page shows. ``price_per_hour``: of the machine, ``None`` where it is not set."""

    action: str
    source: str
    truth: str
    listed: int
    seed: int
    left_out: tuple[str, ...]
    entrants: Sequence[Entrant]
    subjects: Sequence[Subject]
    price_per_hour: float | None = None
    currency: str = "USD"

    def outcomes(self, entrant: int) -> list[Outcome]:
        return [subject.outcomes[entrant] for subject in self.subjects]

    @property
    def failures(self) -> int:
        """Results that are missing because of an error."""
        return sum(o.status == Status.ERROR for subject in self.subjects for o in subject.outcomes)

    def common(self) -> list[int]:
        """Numbers of the pictures that every candidate made which made any: means are taken over these."""
        working = [
            i for i in range(len(self.entrants)) if any(o.status != Status.ERROR for o in self.outcomes(i))
        ]
        return [
            number
            for number, subject in enumerate(self.subjects)
            if working and all(subject.outcomes[i].status != Status.ERROR for i in working)
        ]


def summarise(bakeoff: Bakeoff) -> list[dict[str, Any]]:
    """One summary per candidate, the best first.

    Order: fewest errors; with a truth, the mean of its first metric; fewest rejected; fewest seconds. Means
    of scores and truth are over the pictures that all candidates made. ``seconds``: median of ``compute``,
    ``megapixels_per_second``: without the first picture where there are others, as it pays for what is
    compiled on first use. ``cost_per_1000``: read to write of one picture at a time.
    """
    common = bakeoff.common()
    rows = []
    for number, entrant in enumerate(bakeoff.entrants):
        every = bakeoff.outcomes(number)
        made = [one for one in every if one.status != Status.ERROR and "compute" in one.seconds]
        shared = [every[place] for place in common]
        steady = made[1:] if len(made) > 1 else made
        compute = [one.seconds["compute"] for one in made]
        busy = sum(one.seconds["compute"] for one in steady)
        total = _mean(sum(one.seconds.get(step, 0.0) for step in _ENGINE) for one in steady)
        peaks = [one.peak_bytes for one in made if one.peak_bytes is not None]
        price = bakeoff.price_per_hour
        steps = {step for one in made for step in one.seconds} - {"compute"}
        rows.append(
            {
                "entrant": number,
                "counts": {
                    name: sum(one.status == name for one in every) for name in ("ok", "rejected", "error")
                },
                "model": next((one.model for one in made if one.model), ""),
                "fallback": next((one.fallback for one in made if one.fallback), ""),
                "seconds": statistics.median(compute) if compute else None,
                "megapixels_per_second": sum(one.megapixels for one in steady) / busy if busy else None,
                "load_seconds": entrant.load_seconds,
                "peak_mb": max(peaks) / 1e6 if peaks else None,
                "cost_per_1000": None if price is None or total is None else total / 3.6 * price,
                "truth": _means(one.truth for one in shared),
                "scores": _means(one.scores for one in shared),
                "steps": {step: _mean(one.seconds.get(step, 0.0) for one in made) for step in steps},
            }
        )
    return sorted(rows, key=_rank(bakeoff.action))


def render_bakeoff(bakeoff: Bakeoff, created: datetime | None = None) -> str:
    """The whole document as text, to be stored as UTF-8."""
    when = (created or datetime.now(UTC)).strftime("%Y-%m-%d %H:%M UTC")
    number = len(bakeoff.subjects)
    title = f"{bakeoff.action}: {counted(len(bakeoff.entrants), 'candidate')} on {counted(number, 'picture')}"
    left_out = "".join(f"<li>{escape(text)}</li>" for text in bakeoff.left_out)
    values = {
        "title": escape(title),
        "lead": escape(
            f"{number} of {counted(bakeoff.listed, 'picture')} of {bakeoff.source}, "
            f"seed {bakeoff.seed}; {when}"
        ),
        "truth": f"<p class='lead'>Truth: {escape(bakeoff.truth)}</p>" if bakeoff.truth else "",
        "left_out": f"<div class='note warn'>Left out:<ul>{left_out}</ul></div>" if left_out else "",
        "data": to_script_json(_payload(bakeoff)),
    }
    scripts = ("dom", "slider", "bakeoff")
    return fill_page("bakeoff.html", ("page.css", "bakeoff.css"), scripts, values)


def _payload(bakeoff: Bakeoff) -> dict[str, Any]:
    summaries = summarise(bakeoff)
    scores = in_reading_order({name for row in summaries for name in row["scores"]})
    truth = [m for m in TRUTH[bakeoff.action] if any(m.name in row["truth"] for row in summaries)]
    return {
        "action": bakeoff.action,
        "currency": bakeoff.currency if bakeoff.price_per_hour is not None else None,
        "common": len(bakeoff.common()),
        "entrants": [
            {"label": one.label, "text": one.text, "failed": one.failed} for one in bakeoff.entrants
        ],
        "summaries": _finite(summaries),
        "truth": [shown(metric) for metric in truth],
        "scores": [shown(describe(name)) for name in scores],
        "around": _AROUND,
        "subjects": [
            {
                "name": subject.name,
                "size": [subject.width, subject.height],
                "part": subject.part if all(subject.part) else None,
                "notes": subject.notes,
                "source": _addresses(subject.source),
                "truth": _addresses(subject.truth),
                "outcomes": [_outcome(one) for one in subject.outcomes],
            }
            for subject in bakeoff.subjects
        ],
    }


def _outcome(one: Outcome) -> dict[str, Any]:
    return {
        "status": one.status,
        "why": one.why,
        "notes": [*one.notes, *([f"made by another model: {one.fallback}"] if one.fallback else ())],
        "seconds": one.seconds.get("compute"),
        "truth": _finite(one.truth),
        "shown": _addresses(one.shown),
    }


def _addresses(one: Shown | None) -> list[str] | None:
    return None if one is None else [one.whole, one.part]


def _rank(action: str) -> Callable[[Mapping[str, Any]], tuple[float, ...]]:
    first = TRUTH[action][0]

    def rank(row: Mapping[str, Any]) -> tuple[float, ...]:
        value = row["truth"].get(first.name)
        seconds = row["seconds"]
        return (
            row["counts"]["error"],
            math.inf if value is None else -first.sign * value,
            row["counts"]["rejected"],
            math.inf if seconds is None else seconds,
        )

    return rank


def _means(values: Iterable[Mapping[str, float | None]]) -> dict[str, float]:
    """Mean of every name over those that have it."""
    found: dict[str, list[float]] = {}
    for one in values:
        for name, value in one.items():
            if value is not None:
                found.setdefault(name, []).append(value)
    return {name: statistics.fmean(numbers) for name, numbers in found.items()}


def _mean(values: Iterable[float]) -> float | None:
    numbers = list(values)
    return statistics.fmean(numbers) if numbers else None


def _finite(value: Any) -> Any:
    """The same with six digits, and with texts for infinite numbers, which JSON has not."""
    if isinstance(value, Mapping):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_finite(one) for one in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else "inf"
    return value
