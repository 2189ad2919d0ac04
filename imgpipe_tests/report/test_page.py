from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pandas as pd
import pytest

from imgpipe.records import ModelUse, Status
from imgpipe_tests.report.datasets import ASSETS, DATASET, DatasetBuilder, scored

HOSTILE = "a/</script><script>alert(1)</script><img src=x onerror=alert(2)><x-evil>&\"'.png"


class _Document(HTMLParser):
    """Elements with attributes, the text of scripts and styles, and all other text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.raw: list[tuple[str, str]] = []
        self.text = ""
        self._inside = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = tag if tag in ("script", "style") else ""

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.raw.append((self._inside, data))
        else:
            self.text += data


def _page(builder: DatasetBuilder, **options: Any) -> str:
    return builder.output.read(builder.report(**options).page_key).decode()


def _data(document: _Document) -> dict[str, Any]:
    payload: dict[str, Any] = json.loads(next(text for tag, text in document.raw if text.startswith("{")))
    return payload


def _add_fallback(builder: DatasetBuilder, reason: str) -> None:
    row = builder.tables["00000"]["upscaled_images"][0]
    model = ModelUse("lanczos", "numpy", fallback_reason=reason)
    builder.tables["00000"]["upscaled_images"][0] = replace(row, model=model)


def test_no_name_message_or_reason_becomes_markup(builder: DatasetBuilder) -> None:
    builder.add_error(HOSTILE, "00001", message=HOSTILE)
    row = builder.tables["00001"][ASSETS[-1]][0]
    hostile = replace(row, reasons=(HOSTILE,), error_class="<x-evil>", stage_failed="<x-evil>")
    builder.tables["00001"][ASSETS[-1]][0] = hostile
    _add_fallback(builder, HOSTILE)
    document = _Document(_page(builder))
    assert not any(name == "x-evil" for name, _ in document.elements)
    assert sum(name == "script" for name, _ in document.elements) == 2
    assert sum(name == "img" for name, _ in document.elements) == 0
    assert not any(attribute.startswith("on") for _, attrs in document.elements for attribute in attrs)
    assert HOSTILE in document.text
    assert HOSTILE in _data(document)["rows"]["source"]


def test_the_policy_allows_this_script_and_style_and_no_network(builder: DatasetBuilder) -> None:
    document = _Document(_page(builder))
    policy = next(
        attrs["content"]
        for tag, attrs in document.elements
        if tag == "meta" and attrs.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src 'self' data:;")
    script = document.raw[-1][1]
    style = next(text for tag, text in document.raw if tag == "style")
    for text in (script, style):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert "unsafe" not in policy


def test_the_page_names_no_other_place(builder: DatasetBuilder) -> None:
    page = _page(builder)
    assert not re.findall(r"(?:https?:)?//(?!\s)[a-z0-9.-]+\.[a-z]{2,}", page)
    # Without an icon of its own, a page makes browsers ask the server for /favicon.ico.
    assert '<link rel="icon" href="data:,">' in page
    for _, attrs in _Document(page).elements:
        for name in ("src", "href"):
            assert not (attrs.get(name) or "").startswith(("http", "//"))


def test_counts_models_and_reasons_are_said(builder: DatasetBuilder) -> None:
    document = _Document(_page(builder))
    assert "11 images in 2 shards" in document.text
    assert "Every picture was made by the configured models." in document.text
    for said in ("PSNR, luma too low", "Matte pieces too high", "unsupported format", "source was deleted"):
        assert said in document.text
    assert ("button", "check:psnr_y_min_db") in [(tag, a.get("data-reason")) for tag, a in document.elements]


def test_what_a_stage_rejected_is_counted_by_its_words(builder: DatasetBuilder) -> None:
    for index, confidence in enumerate((0.1, 0.25)):
        row = builder.tables["00000"][ASSETS[-1]][index]
        said = f"not sure of its mask (confidence {confidence}, at least 0.6 needed)"
        builder.tables["00000"][ASSETS[-1]][index] = replace(
            row, status=Status.REJECTED, stage_failed="matted_images", reasons=(said,), details={}, metrics={}
        )
    document = _Document(_page(builder))
    told = [a["data-reason"] for tag, a in document.elements if tag == "button" and "data-reason" in a]
    assert "text:not sure of its mask (confidence …, at least … needed)" in told
    assert "2 not sure of its mask" in document.text


def test_a_fallback_is_said_loudly(builder: DatasetBuilder) -> None:
    _add_fallback(builder, "no weights for realesrgan-anime-6b")
    document = _Document(_page(builder))
    assert "Not every picture was made by the configured models." in document.text
    assert "1 image: upscaled_images: no weights for realesrgan-anime-6b" in document.text


def test_the_rows_of_the_page_are_the_rows_of_the_table(builder: DatasetBuilder) -> None:
    data = _data(_Document(_page(builder)))
    frame = pd.read_parquet(io.BytesIO(builder.output.read(f"reports/{DATASET}/images.parquet")))
    assert data["rows"]["id"] == frame["image_id"].tolist()
    assert [data["statuses"][i] for i in data["rows"]["status"]] == frame["status"].tolist()
    for name, values in data["rows"]["values"].items():
        for ours, theirs in zip(values, frame[name], strict=True):
            assert (ours is None) if pd.isna(theirs) else ours == pytest.approx(theirs, rel=1e-5)
    thumbs = {kind: path for each in data["thumbs"].values() for kind, path in each.items()}
    assert all(builder.output.exists(f"reports/{DATASET}/{path}") for path in thumbs.values())


def test_stored_files_can_be_named_again(builder: DatasetBuilder) -> None:
    data = _data(_Document(_page(builder)))
    names = [data["texts"][i].replace("\x00", data["rows"]["id"][0]) for i in data["rows"]["files"][0]]
    row = builder.tables["00000"]
    assert names == [row[asset][0].output_key for asset in ASSETS[1:]]


def test_infinite_scores_survive(builder: DatasetBuilder) -> None:
    row = builder.tables["00000"][ASSETS[-1]][0]
    builder.tables["00000"][ASSETS[-1]][0] = scored(row, {**row.metrics, "psnr_y": float("inf")})
    data = _data(_Document(_page(builder)))
    assert data["rows"]["values"]["psnr_y"][0] == "inf"


def test_an_empty_data_set_has_a_page() -> None:
    document = _Document(_page(DatasetBuilder(tables={"00000": {asset: [] for asset in ASSETS}})))
    assert "0 images in 0 shards" in document.text
    assert "No image was rejected, failed or was warned about." in document.text


def test_drift_is_told_in_words(builder: DatasetBuilder) -> None:
    assert "first report of this data set" in _page(builder)
    row = builder.tables["00000"][ASSETS[-1]][0]
    builder.tables["00000"][ASSETS[-1]][0] = scored(row, {**row.metrics, "psnr_y": 20.0})
    text = _Document(_page(builder)).text
    assert f"{20 - row.metrics['psnr_y']:+.3f}" in text
    assert "11 images in both, 0 new, 0 gone." in text
    assert "ok → rejected" in text
    # The same rows again: the page keeps saying what had changed before.
    assert "ok → rejected" in _Document(_page(builder)).text
