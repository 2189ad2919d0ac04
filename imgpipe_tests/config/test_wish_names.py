"""docs/configuration-names.md: each name of its tables is accepted and means the key beside it."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from imgpipe.config import Settings, load_settings
from imgpipe.errors import ConfigError
from imgpipe.metrics import LIMITS
from imgpipe.settings.given import ALIASES

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "configuration-names.md").read_text(encoding="utf-8")

#: Where the table gives no value itself: one that is valid and not the default.
VALUES: dict[str, Any] = {
    "actions": ("fix_artifacts", "rembg"),
    "rembg.model": "u2net",
    "rembg.foreground_threshold": 250,
    "rembg.background_threshold": 20,
    "rembg.erode_size": 10,
    "upscale.scale": 2.0,
    "upscale.tile_size": 512,
    "fix_artifacts.denoise_strength": 0.25,
    "enhance.min_width": 640,
    "enhance.min_height": 960,
    "enhance.scale_factor": 2.0,
    "enhance.min_bytes": 1_000_000,
    "enhance.save_format_priority": ("WEBP", "JPEG"),
    "enhance.quality": 90,
    "quality.profile": "classical",
    "quality.diff": False,
    **{f"quality.thresholds.{name}": limit.highest for name, limit in LIMITS.items()},
}


pytestmark = pytest.mark.usefixtures("own_folder")


def _rows() -> list[tuple[str, tuple[str, ...]]]:
    """(name, keys) of every row of the tables whose second column is imgpipe's key, as they are written."""
    rows, within = [], False
    for line in PAGE.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        within = line.startswith("|") and (within or cells[1:2] == ["imgpipe's key"])
        if within:
            names, keys = (re.findall("`([^`]+)`", cell) for cell in cells[:2])
            rows += [(name, tuple(keys)) for name in names]
    return rows


ROWS = _rows()


def _at(settings: Settings, key: str) -> Any:
    """The value of a dotted key, None where a mapping lacks it."""

    def step(value: Any, name: str) -> Any:
        return value.get(name) if isinstance(value, dict) else getattr(value, name)

    return functools.reduce(step, key.split("."), settings)


@pytest.mark.parametrize(("name", "keys"), ROWS, ids=[name for name, _ in ROWS])
def test_each_name_is_its_key(name: str, keys: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    name, _, given = name.partition(": ")
    wanted: dict[str, Any] = {}
    for key in keys:
        key, _, value = key.partition(": ")
        wanted[key] = yaml.safe_load(value) if value else VALUES[key]
    value = yaml.safe_load(given) if given else next(iter(wanted.values()))
    Path("imgpipe.yaml").write_text(
        yaml.safe_dump({name: list(value) if isinstance(value, tuple) else value})
    )
    settings = load_settings()
    assert {key: _at(settings, key) for key in wanted} == wanted
    if not given:
        assert all(_at(Settings(), key) != value for key, value in wanted.items()), "a default shows nothing"
    if name.isupper():
        Path("imgpipe.yaml").unlink()
        text = given or (",".join(value) if isinstance(value, tuple) else str(value).lower())
        monkeypatch.setenv(name, text)
        assert load_settings() == settings


def test_every_alias_is_in_the_tables() -> None:
    assert set(ALIASES) <= {name.partition(": ")[0] for name, _ in ROWS}
    assert len(ROWS) >= len(ALIASES) + 10


def test_the_block_loads_as_it_was_written() -> None:
    (block,) = re.findall("```yaml\n(image_pipeline:.*?)```", PAGE, re.DOTALL)
    Path("imgpipe.yaml").write_text(block)
    settings = load_settings()
    rembg, upscale = settings.rembg, settings.upscale
    assert (rembg.model, rembg.alpha_matting) == ("isnet-anime", "auto")
    assert (rembg.foreground_threshold, rembg.background_threshold, rembg.erode_size) == (240, 10, 3)
    assert (upscale.model, upscale.scale, upscale.tile_size) == ("realesrgan-anime-6b", 4.0, 512)
    assert (upscale.precision, settings.fix_artifacts.denoise_strength) == ("auto", 0.5)
    assert (settings.review.enabled, settings.review.reviewer) == (True, "claude")
    Path("imgpipe.yaml").write_text(block.replace("240", "270"))
    with pytest.raises(ConfigError, match=r"rembg\.foreground_threshold: .* 254; got 270"):
        load_settings()
    Path("imgpipe.yaml").write_text(block.replace("half_precision: true", "half_precision: false"))
    assert load_settings().upscale.precision == "fp32"
