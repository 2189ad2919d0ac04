"""Data of the page's script: the rows as compact JSON, column by column, repeated texts once.

Keys are short words; numbers that were not measured are ``null``, infinite ones the text ``"inf"``.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from imgpipe.records import Status
from imgpipe.report.frame import ImageLine, PageContent, checks_of, failed_checks
from imgpipe.report.metrics import describe, is_upper_bound, metric_of, shown
from imgpipe.report.pictures import KINDS

_STATUSES = [status.value for status in Status]
#: Significant digits of a score in the page; the Parquet file has all of them.
_DIGITS = 6


class _Table:
    """Texts by number, each once; number 0 is the empty text."""

    def __init__(self) -> None:
        self.numbers = {"": 0}

    def number(self, text: str) -> int:
        return self.numbers.setdefault(text, len(self.numbers))


def build_payload(content: PageContent) -> dict[str, Any]:
    """The object that the page reads; every list under ``rows`` has one entry per image."""
    frame, lines = content.frame, content.lines
    names = list(dict.fromkeys(str(name) for name in content.checks["name"]))
    texts, limits = _Table(), _Table()
    metrics = [*content.metrics, "seconds_total"]
    exact = _exact_groups(frame)
    same_bytes = [set(group) for group in exact]
    return {
        "dataset": content.dataset,
        "statuses": _STATUSES,
        "metrics": [shown(describe(name)) for name in metrics],
        "checks": [
            {"name": name, "metric": metric_of(name), "upper": is_upper_bound(name)} for name in names
        ],
        "rows": {
            "id": frame["image_id"].tolist(),
            "source": frame["source_key"].tolist(),
            "status": [_STATUSES.index(status) for status in frame["status"]],
            "shard": [texts.number(shard) for shard in frame["shard"]],
            "stage": [texts.number(stage) for stage in frame["stage_failed"]],
            "error": [texts.number(error) for error in frame["error_class"]],
            "notes": [texts.number(text) for text in frame["notes"]],
            "why": [texts.number(line.final.why) for line in lines],
            "fallback": [texts.number(text) for text in frame["fallbacks"]],
            "failed": [
                [names.index(name) for name in failed_checks(line.final) if name in names] or 0
                for line in lines
            ],
            "limits": [limits.number(_limits(line)) for line in lines],
            "size": [_sizes(line) for line in lines],
            "files": [_files(line, texts) for line in lines],
            "values": {name: [_number(value) for value in frame[name]] for name in metrics},
        },
        "texts": list(texts.numbers),
        "limits": [json.loads(text or "{}") for text in limits.numbers],
        "thumbs": _thumbs(frame),
        "worst": content.worst,
        "near": [
            group for group in _groups(frame["duplicate_group"].dropna()) if set(group) not in same_bytes
        ],
        "exact": exact,
        "hashed": int(frame["dhash"].notna().sum()),
    }


def to_script_json(value: Any) -> str:
    """JSON that can stand inside ``<script>``: nothing in it can close the element or open a comment.

    ``<``, ``>`` and ``&`` are written as escapes, which only ever occur inside strings; so are U+2028 and
    U+2029, which some parsers take for line ends.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _number(value: float) -> float | str | None:
    if math.isnan(value):
        return None
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return float(f"{value:.{_DIGITS}g}")


def _limits(line: ImageLine) -> str:
    found = {check["name"]: check["threshold"] for check in checks_of(line.final)}
    return json.dumps(found, sort_keys=True) if found else ""


def _sizes(line: ImageLine) -> list[int]:
    """Source and last picture: width, height, width, height; 0 where there is none."""
    made = [line.stages[asset] for asset in line.assets[:-1] if asset in line.stages]
    first, last = made[0], made[-1]
    return [first.width, first.height, last.width, last.height]


def _files(line: ImageLine, texts: _Table) -> list[int]:
    """Stored files as patterns: ``\\x00`` stands for the image id, so that a shard's keys are one text."""
    keys = [row.output_key for row in list(line.stages.values())[1:] if row.output_key]
    return [texts.number(key.replace(line.final.image_id, "\x00")) for key in keys]


def _thumbs(frame: pd.DataFrame) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for kind in KINDS:
        for position, path in frame[f"thumb_{kind}"].dropna().items():
            found.setdefault(str(position), {})[kind] = str(path)
    return found


def _groups(known: pd.Series) -> list[list[int]]:
    """Line numbers of equal values, in order of first appearance."""
    return [[int(i) for i in members] for members in known.groupby(known, sort=False).groups.values()]


def _exact_groups(frame: pd.DataFrame) -> list[list[int]]:
    """Images whose source files are the same bytes."""
    known = frame["source_sha256"]
    return _groups(known[(known != "") & known.duplicated(keep=False)])


def count_texts(texts: Iterable[str]) -> Sequence[tuple[str, int]]:
    """Distinct texts with their number, most frequent first."""
    return sorted(Counter(texts).items(), key=lambda item: (-item[1], item[0]))


def counts_by_status(frame: pd.DataFrame) -> Mapping[str, int]:
    """Images by status, all four present."""
    return {status: int((frame["status"] == status).sum()) for status in _STATUSES}
