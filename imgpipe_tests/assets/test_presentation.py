"""What every asset says of itself: owners, freshness, kinds and its code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from dagster import AssetKey, LocalFileCodeReference, UrlCodeReference

from imgpipe.assets.graph import build_definitions
from imgpipe.config import load_settings
from imgpipe.errors import ConfigError

ASSETS = (
    "raw_images",
    "matted_images",
    "upscaled_images",
    "quality_reports",
    "dataset_report",
    "review_queue",
)


def specs(**options: Any) -> dict[str, Any]:
    definitions = build_definitions(load_settings({"dataset": "art", **options}))
    return {name: definitions.resolve_assets_def(AssetKey(name)).get_asset_spec() for name in ASSETS}


pytestmark = pytest.mark.usefixtures("own_folder")


def test_owners_and_freshness_are_the_configured_ones_on_every_asset() -> None:
    options = {"assets.owners": ["ann@example.com", "team:art"], "assets.fresh_within_hours": 36}
    for spec in specs(**options).values():
        assert list(spec.owners) == ["ann@example.com", "team:art"]
        assert spec.freshness_policy.fail_window.to_timedelta().total_seconds() == 36 * 3600
        assert spec.description
        assert spec.group_name == "images"
    for spec in specs().values():
        assert (list(spec.owners), spec.freshness_policy) == ([], None)


@pytest.mark.parametrize("owner", ["ann", "team:", "ann@example", "team:a b", "@example.com"])
def test_an_owner_that_nobody_can_ask_is_refused(owner: str) -> None:
    with pytest.raises(ConfigError, match=r"assets\.owners: .*e-mail address or team:name"):
        load_settings({"assets.owners": [owner]})
    with pytest.raises(ConfigError, match="only once"):
        load_settings({"assets.owners": ["team:a", "team:a"]})


def test_links_lead_to_the_code_that_does_the_work() -> None:
    expected = {
        "raw_images": "class ReadStage",
        "matted_images": "class MatteStage",
        "upscaled_images": "class UpscaleStage",
        "quality_reports": "class ScoreStage",
        "dataset_report": "def build_report_asset",
        "review_queue": "def read_queue",
    }
    for name, spec in specs().items():
        reference = spec.metadata["dagster/code_references"].code_references[0]
        assert isinstance(reference, LocalFileCodeReference)
        start = (reference.line_number or 0) - 1  # A decorator may stand above.
        lines = Path(reference.file_path).read_text().splitlines()[start : start + 2]
        assert any(line.startswith(expected[name]) for line in lines), lines


def test_links_lead_to_the_configured_repository() -> None:
    for spec in specs(**{"assets.code_url": "https://example.com/imgpipe/blob/main/"}).values():
        for reference in spec.metadata["dagster/code_references"].code_references:
            assert isinstance(reference, UrlCodeReference)
            assert reference.url.startswith("https://example.com/imgpipe/blob/main/imgpipe/")
            assert "#L" in reference.url


def test_kinds_say_what_it_runs_on_and_where_it_writes() -> None:
    def kinds(**options: Any) -> dict[str, set[str]]:
        return {name: set(spec.kinds) for name, spec in specs(**options).items()}

    default = kinds()
    assert default["matted_images"] == {"python", "onnx"}
    assert default["upscaled_images"] == {"python", "pytorch"}
    classical = kinds(**{"rembg.model": "classical", "upscale.model": "bicubic", "output": "s3://b/o"})
    assert classical["matted_images"] == {"python", "scipy", "s3"}
    assert classical["upscaled_images"] == {"python", "opencv", "s3"}
    assert max(len(each) for each in classical.values()) <= 3
