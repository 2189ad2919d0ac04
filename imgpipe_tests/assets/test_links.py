"""Links that lead somewhere, and text that cannot break a Markdown table."""

from __future__ import annotations

import pytest

from imgpipe.assets.links import browser_link, code_cell, plain_cell, report_link, served_link
from imgpipe.config import load_settings
from imgpipe.settings import S3Settings


@pytest.mark.parametrize(
    ("uri", "settings", "expected"),
    [
        (
            "s3://art/results/a b.png",
            S3Settings(endpoint_url="http://127.0.0.1:9000/"),
            "http://127.0.0.1:9000/art/results/a%20b.png",
        ),
        (
            "s3://art/results/a b.png",
            S3Settings(region="eu-west-1"),
            "https://s3.console.aws.amazon.com/s3/object/art?prefix=results%2Fa+b.png&region=eu-west-1",
        ),
        ("s3://art/x.png", S3Settings(), "https://s3.console.aws.amazon.com/s3/object/art?prefix=x.png"),
        ("/data/out/x.png", S3Settings(), None),
        ("memory://output/x.png", S3Settings(), None),
    ],
)
def test_a_browser_is_led_to_s3_and_not_into_folders(
    uri: str, settings: S3Settings, expected: str | None
) -> None:
    assert browser_link(uri, settings) == expected


def test_files_have_an_address_at_the_webserver() -> None:
    settings = load_settings({"dataset": "art"})
    assert report_link(settings) == "/imgpipe/dataset_report/reports/art/index.html"
    prefixed = load_settings({"dataset": "art", "assets.key_prefix": "set"})
    link = served_link(prefixed, "matted/art/00000/\u9752?-0.png")
    assert link == "/imgpipe/set/dataset_report/matted/art/00000/%E9%9D%92%3F-0.png"


def test_cells_stay_one_cell() -> None:
    assert plain_cell("a|b\n<img src=x> [l](u) `c`") == r"a\|b \<img src=x\> \[l\](u) \`c\`"
    assert code_cell("a`b|c\nd") == r"`a'b\|c d`"
