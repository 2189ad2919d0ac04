"""Which files the webserver's own route gives out, and how."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.exceptions import HTTPException

from imgpipe.webserver import answer

IMAGE = "girl-0123456789abcdef0123"


@pytest.fixture
def facts(tmp_path: Path) -> dict[str, object]:
    """The report asset's metadata of an output with one file of every sort, two data sets' among them."""
    for key in (
        "reports/art/index.html",
        "reports/art/thumbs/a.webp",
        f"rejected/upscaled/art/00000/{IMAGE}.png",
        f"quality/art/00000/{IMAGE}/quality.json",
        f"matted/comics/00000/{IMAGE}.png",
        "reports/comics/index.html",
        "shards/art/00000.parquet",
        "tables/raw_images/art/00000.parquet",
        "leases/art/00000-00000001.json",
        f"review/art/upscaled_images/00000/{IMAGE}/00001.json",
        f"uploads/art/{'0' * 20}/picture.png",
    ):
        path = tmp_path / "out" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(key)
    (tmp_path / "secret.html").write_text("secret")
    return {"dataset": "art", "output": str(tmp_path / "out"), "s3": {}}


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("reports/art/index.html", "text/html; charset=utf-8"),
        ("reports/art/thumbs/a.webp", "image/webp"),
        (f"rejected/upscaled/art/00000/{IMAGE}.png", "image/png"),
        (f"quality/art/00000/{IMAGE}/quality.json", "application/json"),
    ],
)
def test_what_a_report_shows_is_given_out_without_a_part_in_the_servers_origin(
    facts: dict[str, object], key: str, kind: str
) -> None:
    given = answer(facts, key)
    assert given.body == key.encode()
    assert given.headers["content-type"] == kind
    policy = given.headers["content-security-policy"].split()
    assert policy[0] == "sandbox"
    assert "allow-same-origin" not in policy
    assert given.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "key",
    [
        "",
        "reports/art/",
        "reports/art/thumbs",
        "reports/art/gone.html",
        "reports/comics/index.html",
        f"matted/comics/00000/{IMAGE}.png",
        "shards/art/00000.parquet",
        "tables/raw_images/art/00000.parquet",
        "leases/art/00000-00000001.json",
        f"review/art/upscaled_images/00000/{IMAGE}/00001.json",
        f"uploads/art/{'0' * 20}/picture.png",
        "reports/art/../../../secret.html",
        f"matted/art/00000/{IMAGE}/../../../../../secret.html",
        "reports/art//index.html",
        "reports/art/\0",
    ],
)
def test_nothing_else_is(facts: dict[str, object], key: str) -> None:
    with pytest.raises(HTTPException) as refused:
        answer(facts, key)
    assert refused.value.status_code == 404


def test_an_output_that_is_gone_is_said(facts: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(HTTPException, match="does not exist") as refused:
        answer(facts | {"output": str(tmp_path / "away")}, "reports/art/index.html")
    assert refused.value.status_code == 404
    assert not (tmp_path / "away").exists()
