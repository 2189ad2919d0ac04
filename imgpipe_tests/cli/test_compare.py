"""``imgpipe compare`` with real processes on tiny pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image as PillowImage

from imgpipe_tests.command_line import imgpipe
from imgpipe_tests.end_to_end.conftest import write_drawing
from imgpipe_tests.matting.graphs import TINY, distance_from, write_graph


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")


def _data(page: str) -> Any:
    text = Path(page).read_text(encoding="utf-8")
    return json.loads(text.partition('type="application/json">')[2].partition("</script>")[0])


@pytest.mark.slow
def test_mattes_on_a_folder_with_a_broken_picture_and_a_broken_model(tmp_path: Path) -> None:
    write_drawing(tmp_path / "絵", "少女.png", seed=1)
    good = Path("絵/少女.png").read_bytes()
    Path("絵/cut.png").write_bytes(good[: len(good) // 2])
    Path("truth").mkdir()
    PillowImage.new("L", (128, 112), 255).save("truth/少女.png")
    other_size = json.dumps({**TINY, "size": 128})
    odd = write_graph(tmp_path / "odd.onnx", distance_from((0, 0, 0), 1), 64, stated=other_size)
    code, text = imgpipe(
        *("compare", "絵", "page.html", "--truth", "truth", "--set", "cost.price_per_hour=1"),
        *("--model", "classical", "--model", str(odd), "--set", "isolation.mode=none"),
    )
    assert code == 1, text
    data = _data("page.html")
    assert [row["entrant"] for row in data["summaries"]] == [0, 1]
    classical, broken = data["summaries"]
    assert classical["counts"] == {"ok": 1, "rejected": 0, "error": 1}
    assert broken["counts"] == {"ok": 0, "rejected": 0, "error": 2}
    assert broken["entrant"] == 1
    assert data["entrants"][1]["failed"].startswith("ModelMismatch: ")
    subject = next(one for one in data["subjects"] if one["name"] == "少女.png")
    made, lost = subject["outcomes"]
    assert (made["status"], lost["status"]) == ("ok", "error")
    assert lost["why"] == data["entrants"][1]["failed"]
    assert made["shown"][0].startswith("data:image/webp")
    # Against a truth that is all subject.
    assert 0 < made["truth"]["iou"] < 1
    assert classical["scores"]["matte_components"] == 1
    assert classical["seconds"] > 0
    assert classical["peak_mb"] > 50
    assert classical["cost_per_1000"] > 0
    assert "DecodeError" in next(one for one in data["subjects"] if one["name"] == "cut.png")["notes"][0]
    code, text = imgpipe("compare", "絵", "page.html", "--model", "classical")
    assert (code, "--overwrite" in text) == (2, True)


@pytest.mark.slow
def test_an_enlargement_is_measured_against_its_truth(tmp_path: Path) -> None:
    ys, xs = np.mgrid[:96, :128]
    wave = (127 + 60 * np.sin(xs / 9.0) + 50 * np.cos(ys / 7.0))[..., None].repeat(3, axis=2)
    truth = np.rint(wave).astype(np.uint8)
    for folder, pixels in (
        ("small", cv2.resize(truth, (64, 48), interpolation=cv2.INTER_AREA)),
        ("truth", truth),
    ):
        Path(folder).mkdir()
        PillowImage.fromarray(np.asarray(pixels, np.uint8)).save(f"{folder}/a.png")
    code, text = imgpipe(
        *(
            "compare",
            "small",
            "page.html",
            "--action",
            "upscale",
            "--truth",
            "truth",
            "--set",
            "upscale.scale=2",
        ),
        *("--model", "lanczos", "--model", "lanczos,scale=3", "--set", "isolation.mode=none"),
    )
    assert code == 0, text
    data = _data("page.html")
    (fit, other) = data["summaries"]
    assert fit["entrant"] == 0
    assert fit["truth"]["psnr"] > 35
    assert other["truth"] == {}
    notes = data["subjects"][0]["outcomes"][1]["notes"]
    assert any("expected a truth of the result's size, 192x144 px, got 128x96 px" in note for note in notes)
