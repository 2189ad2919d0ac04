"""Numbers that plot over partitions, against arithmetic by hand."""

from __future__ import annotations

from typing import Any

import pytest
from dagster import TableMetadataValue

from imgpipe.assets.metadata import shard_metadata, table
from imgpipe.config import load_settings
from imgpipe.engines.shard import ShardResult
from imgpipe.records import ImageRow, ModelUse, Status
from imgpipe.storage.memory import MemoryStore
from imgpipe.storage.opening import Stores

STORES = Stores(MemoryStore("source"), MemoryStore("output"))


def row(name: str, *, compute: float | None = None, device: str = "cpu", **metrics: float) -> ImageRow:
    seconds = {} if compute is None else {"read": 5.0, "compute": compute}
    model = ModelUse("net", "spandrel", device=device)
    return ImageRow(f"{name}.png", name, "e", Status.OK, seconds=seconds, model=model, metrics=metrics)


def values(
    rows: list[ImageRow], *, computed: int, wall: float, gpu: bool = False, **options: Any
) -> dict[str, Any]:
    result = ShardResult("quality_reports", "art", "00000", tuple(rows), computed, 0, wall)
    settings = load_settings({"dataset": "art", **options})
    return shard_metadata(result, STORES, settings, gpu=gpu)


def test_cost_is_the_clocks_share_of_the_configured_price() -> None:
    rows = [row("a", compute=1.0), row("b", compute=3.0)]
    price: dict[str, Any] = {"cost.price_per_hour": 2.0, "cost.currency": "EUR"}
    found = values(rows, computed=2, wall=9.0, **price)
    assert found["cost_per_1000_images"] == pytest.approx(9.0 / 2 * 1000 / 3600 * 2.0)
    assert found["currency"] == "EUR"
    assert found["compute_seconds_per_image"] == pytest.approx(2.0)
    assert "cost_per_1000_images" not in values(rows, computed=2, wall=9.0)
    assert "cost_per_1000_images" not in values(rows, computed=0, wall=9.0, **price)


def test_seconds_of_gpu_are_those_that_one_was_held() -> None:
    rows = [row("a", compute=1.0, device="cuda:0"), row("b", compute=3.0), row("c")]
    assert values(rows, computed=2, wall=9.0, gpu=True)["gpu_seconds_per_image"] == pytest.approx(0.5)
    assert "gpu_seconds_per_image" not in values(rows, computed=2, wall=9.0)
    assert "gpu_seconds_per_image" not in values([row("c")], computed=1, wall=1.0, gpu=True)


def test_models_are_named_where_there_are_any() -> None:
    assert values([row("a")], computed=1, wall=1.0)["models"][0]["name"] == "net"
    assert not {"models", "fallback"} & set(values([], computed=0, wall=1.0))


def test_medians_and_minima_of_the_scores() -> None:
    rows = [
        row(name, psnr=value, ssim=value / 100) for name, value in (("a", 30.0), ("b", 50.0), ("c", 90.0))
    ]
    found = values(rows, computed=3, wall=1.0)
    assert (found["psnr_median"], found["psnr_min"]) == (50.0, 30.0)
    assert (found["ssim_median"], found["ssim_min"]) == (0.5, 0.3)
    # Five per cent of the way from the first to the last of three: 0.1 of the way to the second.
    assert (found["psnr_p05"], found["ssim_p05"]) == (32.0, 0.32)
    assert "psnr_y_median" not in found


def test_a_table_takes_records_without_some_of_its_columns() -> None:
    """Checks without a number, such as a matte's distrust, stand beside those that have one."""
    columns = {"check": "string", "value": "float"}
    made = table(columns, [{"check": "matte_confidence"}, {"check": "psnr_y", "value": 31.5}])
    assert isinstance(made, TableMetadataValue)
    assert [record.data for record in made.records] == [
        {"check": "matte_confidence", "value": ""},
        {"check": "psnr_y", "value": 31.5},
    ]
