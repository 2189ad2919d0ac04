"""What the report's page shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from imgpipe.report.frame import ImageLine


@dataclass(frozen=True, slots=True)
class PageContent:
    """Everything that the page shows.

    ``frame``, ``checks``, ``lines``: see :mod:`imgpipe.report.frame`; ``worst``: check -> line numbers;
    ``shown``: line numbers with thumbnails; ``facts``: see :class:`ReportArchive`.
    """

    dataset: str
    frame: pd.DataFrame
    checks: pd.DataFrame
    lines: Sequence[ImageLine]
    metrics: Sequence[str]
    worst: Mapping[str, Sequence[int]]
    shown: Sequence[int]
    facts: Mapping[str, Any]
    problems: Sequence[str]
