"""Links that lead somewhere, and text that cannot break a Markdown table."""

from __future__ import annotations

import pytest

from imgpipe.assets.links import browser_link, code_cell, link_metadata, plain_cell
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


def test_an_entry_can_be_clicked_or_copied() -> None:
    assert link_metadata("/data/a b/index.html", S3Settings()).value == "file:///data/a%20b/index.html"
    s3 = S3Settings(endpoint_url="http://host")
    assert link_metadata("s3://art/index.html", s3).value == "http://host/art/index.html"
    assert link_metadata("memory://out/index.html", S3Settings()).value == "memory://out/index.html"


def test_cells_stay_one_cell() -> None:
    assert plain_cell("a|b\n<img src=x> [l](u) `c`") == r"a\|b \<img src=x\> \[l\](u) \`c\`"
    assert code_cell("a`b|c\nd") == r"`a'b\|c d`"
