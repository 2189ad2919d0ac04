"""Notes made while decoding: in quality.json, the report, the UI's metadata, and what ``image`` prints."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image as PillowImage

from imgpipe.assets.metadata import shard_metadata
from imgpipe.config import load_settings
from imgpipe.engines.shard import run_shard
from imgpipe.images.encode import encode
from imgpipe.pictures.reader import PictureReader
from imgpipe.report.build import build_report
from imgpipe.report.frame import ShardRows
from imgpipe.stages.build import build_stage
from imgpipe.stages.catalogue import MATTED, QUALITY, RAW
from imgpipe.stages.chain import steps
from imgpipe.storage.manifests import plan, seal
from imgpipe.storage.memory import MemoryStore
from imgpipe.storage.opening import Stores
from imgpipe_tests.command_line import imgpipe
from imgpipe_tests.quality.documents import validate
from imgpipe_tests.quality.drawings import draw, image

NOTE = "animated: first of 3 frames kept"
UPSCALE = {"actions": ["upscale"], "upscale.model": "lanczos", "upscale.scale": 2, "isolation.mode": "none"}


def animation() -> bytes:
    frames = [PillowImage.fromarray(draw(seed, 32, 24, 2)) for seed in range(3)]
    data = BytesIO()
    frames[0].save(data, "GIF", save_all=True, append_images=frames[1:], duration=100)
    return data.getvalue()


def test_notes_of_decoding_reach_the_document_the_report_and_the_metadata() -> None:
    settings = load_settings({**UPSCALE, "dataset": "art"})
    stores = Stores(MemoryStore("source"), MemoryStore("output"))
    stores.source.write("moving.gif", animation())
    stores.source.write("still.png", encode(image(draw(4, 32, 24, 2))))
    seal(plan(stores.source, stores.output, dataset="art", shard_size=100), stores.output)
    results = {
        step.asset: run_shard(step, build_stage(step, settings), settings, stores, "00000")
        for step in steps(settings)
    }
    metadata = shard_metadata(results[RAW], stores, settings)
    assert metadata["images_with_notes"] == 1

    rows = {row.source_key: row for row in results[QUALITY].rows}
    documents = {key: json.loads(stores.output.read(row.output_key)) for key, row in rows.items()}
    for key, document in documents.items():
        validate(document)
        assert (NOTE in document["notes"]) is (key == "moving.gif")
        place = [document[name] for name in ("source_key", "image_id", "dataset", "shard")]
        assert place == [key, rows[key].image_id, "art", "00000"]

    shard = ShardRows("00000", {asset: result.rows for asset, result in results.items()})
    reader = PictureReader(stores.source, stores.output, settings.limits, settings.isolation)
    report = build_report("art", [shard], reader, matte_asset=MATTED)
    page = stores.output.read(report.page_key).decode()
    payload = json.loads(page.split('id="data" type="application/json">')[1].split("</script>")[0])
    notes = [payload["texts"][number] for number in payload["rows"]["notes"]]
    assert dict(zip(payload["rows"]["source"], notes, strict=True)) == {"moving.gif": NOTE, "still.png": ""}


def test_image_prints_the_notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("moving.gif").write_bytes(animation())
    options = [part for key, value in UPSCALE.items() for part in ("--set", f"{key}={json.dumps(value)}")]
    assert f"note: {NOTE}\n" in imgpipe("image", "moving.gif", "out.png", *options)[1]
