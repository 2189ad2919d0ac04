"""A page of the twenty worst misses and false alarms, with pictures: ``benchmarks/quality.py --worst``.

How wrong a verdict is: the ratio of a value to its limit, of the check that is farthest beyond its own for a
false alarm, and of the one that comes nearest for a miss. False alarms come first. At most two of a group are
shown.
"""

from __future__ import annotations

import base64
from collections import Counter
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from imgpipe.metrics import LIMITS
from imgpipe.quality.report import CheckResult, QualityReport, Severity
from imgpipe.records import Status

Pixels = npt.NDArray[np.uint8]

_MOST, _OF_A_GROUP, _SHOWN_PX = 20, 2, 480
_STYLE = (
    "body{font:14px sans-serif;margin:1em;background:#fff}section{border-top:1px solid #999;padding:.5em 0}"
    "figure{display:inline-block;margin:0 8px 0 0}img{max-width:46vw}h2{font-size:1.1em;margin:.2em 0}"
)


@dataclass(frozen=True, slots=True)
class _Case:
    """``beyond``: how wrong it is, larger is worse; ``said``: HTML."""

    group: str
    title: str
    is_alarm: bool
    beyond: float
    said: str
    pictures: tuple[bytes, bytes]


class WorstPage:
    """Collects what the verdict got wrong; nothing where there is no ``path``."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._cases: list[_Case] = []

    def add(
        self, group: str, name: str, clean: bool, report: QualityReport, source: Pixels, result: Pixels
    ) -> None:
        """``clean``: whether the result must pass; else it must be rejected. Both (height, width, 3 or 4)."""
        if self._path is None or clean == (report.status is Status.OK):
            return
        checks = [check for check in report.checks if check.severity is Severity.ERROR]
        if result.shape[2] > source.shape[2]:  # Of a cutout the matte is judged.
            checks = [check for check in checks if LIMITS[check.name].metric.startswith("matte_")]
        ratios = {check.name: _ratio(check) for check in checks if check.value is not None}
        if not ratios:
            return
        most = max(ratios, key=lambda name: ratios[name])
        said = [check.message for check in checks if check.name == most]
        if clean:
            said = list(report.reasons)
        beyond = ratios[most] if clean else -ratios[most]
        shown = f"{'false alarm' if clean else 'missed; nearest'}: {most}, {ratios[most]:.2f} of its limit"
        text = "<br>".join(escape(line) for line in (shown, *said))
        height, width = result.shape[:2]
        enlarged = np.asarray(cv2.resize(source, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)
        where = _window(enlarged, result)
        pictures = _encoded(enlarged[where]), _encoded(result[where])
        self._cases.append(_Case(group, f"{group}: {name}", clean, beyond, text, pictures))

    def write(self) -> None:
        if self._path is None:
            return
        shown: list[_Case] = []
        groups: Counter[str] = Counter()
        for case in sorted(self._cases, key=lambda case: (not case.is_alarm, -case.beyond)):
            if len(shown) < _MOST and groups[case.group] < _OF_A_GROUP:
                shown.append(case)
                groups[case.group] += 1
        sections = "".join(_section(number, case) for number, case in enumerate(shown, 1))
        alarms = sum(case.is_alarm for case in self._cases)
        head = f"{alarms} false alarms, {len(self._cases) - alarms} misses; {len(shown)} of them"
        self._path.write_text(
            f"<!doctype html><meta charset=utf-8><title>Worst verdicts</title><style>{_STYLE}</style>"
            f"<h1>{head}</h1>{sections}\n"
        )
        print(f"{head}: {self._path}")


def _ratio(check: CheckResult) -> float:
    """1 at the limit, more beyond it; of shares that must not be low, what is missing to 1."""
    limit, value = LIMITS[check.name], float(check.value or 0.0)
    if limit.direction == "max":
        return value / max(check.threshold, 1e-9)
    if limit.highest == 1.0 and check.threshold > 0.5:
        return (1 - value) / max(1 - check.threshold, 1e-9)
    return check.threshold / max(value, 1e-9)


def _window(source: Pixels, result: Pixels) -> tuple[slice, slice]:
    """The part of at most 480 px a side in which the two differ most."""
    away = cv2.absdiff(source[..., :3], result[..., :3]).max(axis=2).astype(np.float32)
    height, width = (min(_SHOWN_PX, side) for side in away.shape)
    sums = cv2.boxFilter(away, -1, (width, height), anchor=(0, 0), borderType=cv2.BORDER_CONSTANT)
    inside = sums[: away.shape[0] - height + 1, : away.shape[1] - width + 1]
    top, left = np.unravel_index(int(np.argmax(inside)), inside.shape)
    return slice(int(top), int(top) + height), slice(int(left), int(left) + width)


def _encoded(pixels: Pixels) -> bytes:
    """PNG; what is transparent is shown over magenta."""
    shown: Any = pixels[..., :3].astype(np.float32)
    if pixels.shape[2] == 4:
        alpha = pixels[..., 3:].astype(np.float32) / 255
        shown = shown * alpha + np.array([255, 0, 255], np.float32) * (1 - alpha)
    return cv2.imencode(".png", np.rint(shown[..., ::-1]).astype(np.uint8))[1].tobytes()


def _section(number: int, case: _Case) -> str:
    figures = "".join(
        f'<figure><img alt="{word}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'
        f"<figcaption>{word}</figcaption></figure>"
        for word, png in zip(("source", "result"), case.pictures, strict=True)
    )
    return f"<section><h2>{number}. {escape(case.title)}</h2><p>{case.said}</p>{figures}</section>\n"
