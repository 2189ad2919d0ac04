"""The page of ``imgpipe calibrate``: one histogram per threshold, with its value now and as proposed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import escape

import numpy as np
import numpy.typing as npt

from imgpipe.names import counted
from imgpipe.report.histogram import build_histogram, histogram_svg
from imgpipe.report.metrics import describe

_STYLE = """
body { font: 14px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 1180px; color: #222 }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(360px, 1fr)); gap: 1.5em }
figure { margin: 0 } figcaption { font-weight: 600 } small { font-weight: 400; color: #555 }
svg { width: 100%; height: auto } .axis { stroke: #555 } .grid { stroke: #ddd }
.tick, .threshold-text { font-size: 10px; fill: #444 } .hit { fill: transparent }
.threshold { stroke: #c0392b; stroke-dasharray: 4 2 }
.fill-ok { fill: #5b9bd5 } .fill-rejected { fill: #e0803a }
.fill-error { fill: #b03030 } .fill-skipped { fill: #aaa }
"""


def calibration_page(
    dataset: str,
    columns: Mapping[str, npt.NDArray[np.float64]],
    statuses: Sequence[str],
    thresholds: Sequence[tuple[str, str, float, float]],
) -> str:
    """HTML without any other file.

    ``columns``: metric -> one value per image, NaN where it was not measured; ``statuses``: of the same
    images; ``thresholds``: (name, metric, value now, proposed value).
    """
    figures = []
    for name, metric, now, proposed in thresholds:
        histogram = build_histogram(columns[metric], statuses, [now, proposed])
        if histogram is None:
            continue
        info = describe(metric)
        svg = histogram_svg(histogram, replace(info, digits=max(info.digits, 2)), [now, proposed])
        said = f"{now:g}, kept" if now == proposed else f"now {now:g}, proposed {proposed:g}"
        figures.append(
            f"<figure><figcaption>{escape(name)} <small>{escape(said)}</small></figcaption>{svg}</figure>"
        )
    title = f"Thresholds proposed for {escape(dataset)}"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{title}</h1><p>{counted(len(statuses), 'image')}. "
        f"Dashed: the threshold now and as proposed.</p><main>{''.join(figures)}</main></body></html>\n"
    )
