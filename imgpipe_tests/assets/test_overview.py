"""The data set's picture: its numbers are the report's, and it needs nothing from outside."""

from __future__ import annotations

import base64
import json
import re
import xml.etree.ElementTree as ET
from typing import Any

import cv2
import numpy as np
import pandas as pd

from imgpipe.assets.overview import as_markdown, overview_svg
from imgpipe.storage.memory import MemoryStore
from imgpipe_tests.opencv_files import opencv_decode

SVG = "{http://www.w3.org/2000/svg}"


def frame(count: int, **columns: Any) -> pd.DataFrame:
    checks = json.dumps([{"name": "psnr_y_min_db", "threshold": 27.5, "value": 1.0}])
    return pd.DataFrame(
        {
            "source_key": [f"set/{n} & 絵.png" for n in range(count)],
            "shard": [f"{n // 4:05d}" for n in range(count)],
            "status": ["rejected" if n == 0 else "error" if n == 1 else "ok" for n in range(count)],
            "psnr_y": [np.nan if n == 1 else 30.0 + n for n in range(count)],
            "ssim_y": 0.99,
            "checks": checks,
            **columns,
        }
    )


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(svg).iter(f"{SVG}text")]  # noqa: S314 -- our own


def bars(svg: str, status: str) -> list[tuple[float, float]]:
    """(width, height) of the rectangles of a status outside the histograms."""
    root = ET.fromstring(svg)  # noqa: S314 -- our own
    return [
        (float(each.attrib["width"]), float(each.attrib["height"]))
        for each in root.findall(f"{SVG}rect")
        if each.attrib.get("class") == f"fill-{status}"
    ]


def test_counts_shards_and_thresholds_are_drawn() -> None:
    svg = overview_svg(frame(8), "art", MemoryStore())
    said = texts(svg)
    assert "art: 8 images" in said
    assert {"6 ok", "1 rejected", "1 error", "0 skipped"} <= set(said)
    assert "27.5" in said
    (total, _), *columns = bars(svg, "ok")
    (rejected, _), *_ = bars(svg, "rejected")
    assert abs(total / rejected - 6) < 0.01
    assert [height for _, height in columns] == [20.0, 40.0]  # Shard 0 has half its images, shard 1 all.


def test_the_worst_are_shown_from_the_reports_thumbnails_and_nothing_from_outside() -> None:
    output = MemoryStore()
    red = np.zeros((60, 40, 3), np.uint8)
    red[..., 2] = 255
    data = cv2.imencode(".webp", red)[1].tobytes()
    paths = [f"thumbs/i{n}.webp" for n in range(8)]
    for path in paths[:-1]:
        output.write(f"reports/art/{path}", data)
    table = frame(8, thumb_source=paths, thumb_result=paths[::-1])
    svg = overview_svg(table, "art", output)
    images = list(ET.fromstring(svg).iter(f"{SVG}image"))  # noqa: S314 -- our own
    assert len(images) == 11  # Six images, one of whose pictures is missing.
    first = base64.b64decode(images[0].attrib["href"].partition(",")[2])
    assert opencv_decode(first)[..., 2].mean() > 200
    assert "ObjectMissing" in svg
    assert {"30.0 dB, rejected", "0 & 絵.png"} <= set(texts(svg))
    assert not any("set/" in said for said in texts(svg))
    addresses = set(re.findall(r'(?:href|src|url)\s*=?\s*["(]([^")]{0,20})', svg))
    assert all(address.startswith("data:image/") for address in addresses)


def test_an_empty_data_set_and_missing_scores_have_a_picture_too() -> None:
    empty = frame(8).iloc[:0].drop(columns=["psnr_y", "ssim_y"])
    said = texts(overview_svg(empty, "art", MemoryStore()))
    assert {"art: 0 images", "no shards yet", "not measured"} <= set(said)
    unscored = frame(8, psnr_y=np.nan)
    assert "no finite value" in texts(overview_svg(unscored, "art", MemoryStore()))


def test_as_markdown_it_is_one_image() -> None:
    svg = overview_svg(frame(3), "art", MemoryStore())
    found = re.fullmatch(r"!\[overview\]\(data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)\)", as_markdown(svg))
    assert found is not None
    assert base64.b64decode(found.group(1)).decode() == svg


def test_an_image_that_was_rejected_before_it_was_scored_is_shown_among_the_worst() -> None:
    output = MemoryStore()
    output.write("reports/art/s.webp", cv2.imencode(".webp", np.zeros((60, 40, 3), np.uint8))[1].tobytes())
    table = frame(3, thumb_source="s.webp", thumb_result=[None, None, "s.webp"])
    table.loc[0, "psnr_y"] = np.nan
    svg = overview_svg(table, "art", output)
    assert len(list(ET.fromstring(svg).iter(f"{SVG}image"))) == 3  # noqa: S314 -- our own
    assert [text for text in texts(svg) if text.endswith((", rejected", ", ok"))] == [
        "not scored, rejected",
        "32.0 dB, ok",
    ]
