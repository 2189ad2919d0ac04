"""A metric that is added as one row and one function shows everywhere."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from imgpipe.assets.findings import evaluate
from imgpipe.metrics import LIMITS, METRICS, Metric
from imgpipe.metrics.metric import at_most
from imgpipe.pictures.reader import PictureReader
from imgpipe.quality.calibration import calibrate
from imgpipe.quality.comparison import MEASURES, Pair
from imgpipe.quality.document import Making, StoredPicture, Subject, build_document
from imgpipe.quality.findings import Findings
from imgpipe.quality.score import score
from imgpipe.records import ImageRow, ManifestEntry, ShardManifest, Status
from imgpipe.report.build import build_report
from imgpipe.report.frame import ShardRows
from imgpipe.settings import IsolationSettings, LimitSettings, QualitySettings
from imgpipe.storage.memory import MemoryStore
from imgpipe.storage.opening import Stores
from imgpipe_tests.quality.documents import validate
from imgpipe_tests.quality.drawings import draw, image

ROOT = Path(__file__).resolve().parents[2]
TOY = Metric(
    "toy_gap_255",
    "Toy gap",
    "Largest luma of the source minus largest of the result",
    better="lower",
    sees="a darker highlight",
    blind_to="everything else",
    unit="of 255",
    low=-255.0,
    high=255.0,
    digits=1,
    limits=(
        at_most("toy_gap_max", "detail_kept", 5.0, 6.0, ".1f", "highlights are {} darker", highest=255.0),
    ),
)


def measure_toy(pair: Pair, found: Findings) -> None:
    found.add("toy_gap_255", float(pair.reference_y.max() - pair.round_trip_y.max()))


@contextmanager
def with_metric(row: Metric, compute: Callable[[Pair, Findings], None]) -> Iterator[None]:
    METRICS[row.name] = row
    LIMITS.update({limit.name: replace(limit, metric=row.name) for limit in row.limits})
    MEASURES[row.name] = compute
    try:
        yield
    finally:
        del METRICS[row.name], MEASURES[row.name]
        for limit in row.limits:
            del LIMITS[limit.name]


def test_a_row_and_a_function_are_enough() -> None:
    source = draw(1, 64, 48)
    darker = (source.astype(np.uint16) * 9 // 10).astype(np.uint8)
    with with_metric(TOY, measure_toy):
        settings = QualitySettings(thresholds={"toy_gap_max": 8})
        with pytest.raises(ValueError, match=r"toy_gap_max must lie in 0\.\.255"):
            QualitySettings(thresholds={"toy_gap_max": 300})
        report = score(image(source), image(darker), settings=settings)
        gap = report.metrics["toy_gap_255"]
        weights = np.array([0.299, 0.587, 0.114])
        assert gap == pytest.approx((source @ weights).max() - (darker @ weights).max(), abs=1e-3)
        assert f"highlights are {gap:.1f} darker, allowed 8.0" in report.reasons

        picture = StoredPicture(1, (256, 192), "")
        document = build_document(report, Subject("a.png"), picture, picture, Making("source", ""))
        validate(document, json.loads(write_docs().quality_schema(schema_text())))
        assert document["scores"]["toy_gap_255"] == round(gap, 6)
        assert document["thresholds"]["toy_gap_max"]["value"] == 8.0

        row = ImageRow("a.png", "a-1", "e", Status.REJECTED, stage_failed="quality_reports")
        verdict = replace(row, metrics=report.metrics, details={"checks": document["checks"]})
        stores = Stores(MemoryStore("source"), MemoryStore("output"))
        manifest = ShardManifest("art", "00000", (ManifestEntry("a.png", "a-1", "e", 1),))
        finding = evaluate("detail_kept", [verdict], manifest, stores)
        assert not finding.passed
        assert finding.metadata["toy_gap_max_worst"].value == pytest.approx(gap)

        shard = ShardRows("00000", {"raw_images": [row], "quality_reports": [verdict]})
        reader = PictureReader(stores.source, stores.output, LimitSettings(), IsolationSettings(mode="none"))
        made = build_report("art", [shard], reader, matte_asset="matted_images")
        page = stores.output.read(made.page_key).decode()
        assert made.metrics["toy_gap_255"]["mean"] == pytest.approx(gap)
        assert '"name":"toy_gap_255","label":"Toy gap","unit":"of 255","digits":1,"better":-1' in page
        assert '{"name":"toy_gap_max","metric":"toy_gap_255","upper":true}' in page
        assert "Toy gap too high" in page

        gaps = [{"toy_gap_255": 2 + shift} for shift in np.linspace(-1, 1, 40)]
        learnt = calibrate(gaps, report.thresholds).thresholds()
        assert 3 < learnt.pop("toy_gap_max") < 4
        assert not learnt

        pages = write_docs().quality((ROOT / "docs" / "quality.md").read_text())
        assert "| `toy_gap_max` | 5 | 5 | 6 | 6 | – | error | `toy_gap_255` ≤ |" in pages
        assert "| `toy_gap_255` | Largest luma" in pages
    with pytest.raises(ValueError, match="toy_gap_max"):
        QualitySettings(thresholds={"toy_gap_max": 8})


def schema_text() -> str:
    return (ROOT / "imgpipe" / "quality" / "quality.schema.json").read_text()


def write_docs() -> ModuleType:
    spec = importlib.util.spec_from_file_location("write_docs", ROOT / "scripts" / "write_docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
