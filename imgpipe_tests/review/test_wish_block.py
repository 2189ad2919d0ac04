"""The block ``image_pipeline:`` as it was wished for, unchanged, from the settings to quality.json."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from imgpipe.cli import app
from imgpipe_tests.config.test_wish_names import PAGE
from imgpipe_tests.jobs.pictures import drawing, opened
from imgpipe_tests.quality.documents import validate
from imgpipe_tests.review.messages_api import MessagesApi


def test_the_block_acts(
    tmp_path: Path, api: MessagesApi, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """There are no weights here, so both fallbacks are allowed; everything else is the block's."""
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall("```yaml\n(image_pipeline:.*?)```", PAGE, re.DOTALL)
    Path("imgpipe.yaml").write_text(block)
    opened(drawing()).save("a.jpg", quality=30)
    arguments = ["image", "a.jpg", "b.png", "--report=b.json", "--actions=fix_artifacts,rembg,upscale"]
    for one in (f"model_dir={tmp_path}", "rembg.fallback=classical", "upscale.fallback=classical"):
        arguments += ["--set", one]
    with caplog.at_level(logging.INFO, logger="imgpipe.stages.score"):
        result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output

    document = json.loads(Path("b.json").read_text())
    validate(document)
    assert document["fix_artifacts"]["done"] == ["deblocked"]
    assert (document["machine_review"]["verdict"], len(api.requests)) == ("pass", 1)
    picture = opened(Path("b.png").read_bytes())
    assert (picture.size, picture.mode) == ((512, 448), "RGBA")
    assert picture.getchannel("A").getextrema() == (0, 255)
    stages = {"raw_images", "fixed_images", "matted_images", "upscaled_images", "quality_reports"}
    assert set(document["timings_share"]) == stages
    assert sum(document["timings_share"].values()) == pytest.approx(1, abs=1e-4)
    assert document["timings_seconds"]["model_load"] > 0
    (line,) = (line for line in caplog.messages if line.startswith("QualityEnhancer: "))
    assert line.endswith(f"target_bytes=none actual_bytes={Path('b.png').stat().st_size} format=PNG")
