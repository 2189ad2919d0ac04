"""OpenCV's dnn_superres on graphs with known answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from imgpipe.errors import ModelMismatch, PackagesMissing, WeightsRefused
from imgpipe.images.image import Image
from imgpipe.settings import UpscaleSettings
from imgpipe.upscaling.build import build_upscaler
from imgpipe_tests.upscaling.conftest import Picture
from imgpipe_tests.upscaling.tensorflow_graph import luma_blur

pytestmark = pytest.mark.skipif(not hasattr(cv2, "dnn_superres"), reason="this OpenCV has no dnn_superres")


def _save(folder: Path, name: str = "ESPCN_x3.pb", scale: int = 3, radius: int = 2) -> Path:
    path = folder / name
    path.write_bytes(luma_blur(scale, radius))
    return path


def _build(path: Path, **settings: Any) -> Any:
    chosen = UpscaleSettings(model=str(path), color_match=False, **{"scale": 3, **settings})
    return build_upscaler(chosen, model_dir=path.parent, device="cpu")


def test_a_known_graph_is_computed(tmp_path: Path, picture: Picture) -> None:
    image = picture(37, 25, 1)
    result = _build(_save(tmp_path)).upscale(image)
    grey = image.pixels[..., 0].astype(np.float64)
    blurred = cv2.boxFilter(grey, -1, (5, 5), borderType=cv2.BORDER_CONSTANT)
    expected = np.repeat(np.repeat(blurred, 3, 0), 3, 1)
    assert np.abs(result.image.pixels[..., 0] - expected).max() <= 1
    assert (result.model.backend, result.details["architecture"]) == ("dnn_superres", "ESPCN")
    assert "8 bits per channel" in result.reasons[0]


def test_colours_stay_in_their_channels(tmp_path: Path) -> None:
    pixels = np.zeros((24, 24, 3), np.uint8)
    pixels[:] = (200, 120, 40)
    middle = _build(_save(tmp_path)).upscale(Image(pixels)).image.pixels[30:40, 30:40]
    assert np.abs(middle.astype(int) - (200, 120, 40)).max() <= 3


def test_tiles_are_exact(tmp_path: Path, picture: Picture) -> None:
    path, image = _save(tmp_path), picture(131, 97)
    whole = _build(path, tile_size=0).upscale(image)
    assert whole.details["receptive_field_source"] == "measured"
    assert 2 <= whole.details["receptive_field_px"] <= 4, "the box, and chroma by bicubic"
    for tile in (32, 50, 71):
        tiled = _build(path, tile_size=tile).upscale(image)
        assert len(tiled.tile_grid.xs) > 0
        difference = np.abs(tiled.image.pixels.astype(int) - whole.image.pixels)
        assert difference.max() <= 1, f"tile {tile}: {difference.max()}"


@pytest.mark.parametrize("name", ["network.pb", "EDSR_x7.pb", "lapsrn_x3.pb"])
def test_the_name_must_say_what_it_is(name: str, tmp_path: Path) -> None:
    with pytest.raises(ModelMismatch, match="says network and factor"):
        _build(_save(tmp_path, name))


def test_another_factor_than_the_name_says_is_a_mismatch(tmp_path: Path) -> None:
    with pytest.raises(ModelMismatch, match="ESPCN_x2"):
        _build(_save(tmp_path, "ESPCN_x2.pb", scale=3))


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = _save(tmp_path)
    path.write_bytes(path.read_bytes()[:50] + b"\xff" * 20)
    with pytest.raises(WeightsRefused, match=r"ESPCN_x3\.pb"):
        _build(path)


def test_an_opencv_without_contrib_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(cv2, "dnn_superres")
    with pytest.raises(PackagesMissing, match="opencv-contrib-python-headless"):
        _build(_save(tmp_path))
