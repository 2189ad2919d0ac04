"""No silent CPU: what `device: auto` became, for torch and for the ONNX runtimes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from dagster import AssetCheckSeverity

from imgpipe.assets.devices import devices_of
from imgpipe.assets.findings import evaluate
from imgpipe.records import ImageRow, ManifestEntry, ModelUse, ShardManifest, Status
from imgpipe.storage.memory import MemoryStore
from imgpipe.storage.opening import Stores
from imgpipe.storage.tables import write_table

SILENT = "device auto is the CPU: this onnxruntime has only CPUExecutionProvider"


def row(name: str, backend: str, device: str, *reasons: str) -> ImageRow:
    model = ModelUse("some-model", backend, device=device)
    return ImageRow(f"{name}.png", name, "", Status.OK, model=model, reasons=reasons)


@pytest.mark.parametrize(
    ("matted", "upscaled", "expected"),
    [
        (row("a", "onnxruntime", "cuda"), row("a", "spandrel", "cuda:0"), True),
        (row("a", "openvino", "cpu"), row("a", "spandrel", "cpu"), True),
        (row("a", "opencv", "cpu"), row("a", "spandrel", "cuda"), True),  # no network
        (row("a", "openvino", "cpu"), row("a", "spandrel", "cuda"), False),
        (row("a", "openvino", "cpu", SILENT), row("a", "classical", "cpu"), False),
    ],
)
def test_one_device_and_no_silent_cpu(matted: ImageRow, upscaled: ImageRow, expected: bool) -> None:
    found = devices_of({"matted_images": [matted], "upscaled_images": [upscaled]})
    assert found.as_expected is expected
    assert found.reasons == ({f"matted_images: {SILENT}": 1} if matted.reasons else {})


def test_the_check_warns_of_machines_that_differ_within_a_shard() -> None:
    stores = Stores(MemoryStore("source"), MemoryStore("output"))
    rows = [row("a", "spandrel", "cuda"), row("b", "spandrel", "cpu"), row("c", "spandrel", "cuda")]
    entries = tuple(ManifestEntry(one.source_key, one.image_id, "", 1) for one in rows)
    facts = {"rows_digest": "", "counts": "{}"}
    write_table(stores.output, "upscaled_images", "art", "00000", rows, meta=facts)
    finding = evaluate("device_as_expected", rows, ShardManifest("art", "00000", entries), stores)
    assert (finding.passed, finding.severity) == (False, AssetCheckSeverity.WARN)
    assert finding.description == (
        "upscaled_images: torch on cpu, 1 image; upscaled_images: torch on cuda, 2 images"
    )


def test_a_stage_without_a_network_has_no_device() -> None:
    assert str(devices_of({"raw_images": [replace(row("a", "x", ""), model=None)]})) == "no network ran"
