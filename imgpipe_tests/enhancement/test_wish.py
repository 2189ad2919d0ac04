"""The rules for enhanced sources, each on every sample drawing: ``QUALITY_TARGET_BYTES=1000000``."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from imgpipe import samples
from imgpipe.config import load_settings
from imgpipe.images.decode import decode
from imgpipe.images.image import Image
from imgpipe.stages.build import build_stage
from imgpipe.stages.chain import steps

DRAWINGS = sorted((Path(samples.__file__).parent / "pictures").iterdir())


@pytest.mark.parametrize("drawing", DRAWINGS, ids=lambda path: path.stem)
def test_an_enhanced_source(drawing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("QUALITY_TARGET_BYTES", "1000000")
    settings = load_settings({"actions": ["enhance"]})
    name = drawing.stem
    source = decode(drawing.read_bytes(), name=name, limits=settings.limits)
    result = build_stage(steps(settings)[1], settings).run({"source": source}, {})
    file, feed = result.outputs.values()
    assert isinstance(file, bytes)
    assert isinstance(feed, Image)

    # At least the bytes that were asked for, or the reason why not.
    assert result.details["min_bytes_met"] is True
    assert 1_000_000 <= len(file) <= max(1_200_000, result.details["attempts"][0]["bytes"])
    # At least 800 x 1440 px, enlarged by 1.5 or more, in the same proportion.
    with PIL.Image.open(io.BytesIO(file)) as opened:
        width, height, kind, mode = *opened.size, opened.format, opened.mode
        profile = opened.info.get("icc_profile")
        orientation = opened.getexif().get(274, 1)
    assert width >= max(800, 1.5 * source.width)
    assert height >= max(1440, 1.5 * source.height)
    assert width / height == pytest.approx(source.width / source.height, abs=0.5 / 1440 * 2)
    # The first format that holds the picture, losslessly: alpha, 16 bits, profile and metadata are kept.
    assert kind == "PNG"
    assert ("A" in mode) == source.has_alpha
    back = decode(file, name=name, limits=settings.limits)
    assert (back.bit_depth, back.channels) == (source.bit_depth, source.channels)
    assert (profile, back.xmp) == (source.icc, source.xmp)
    # Rotation is applied once: the tag says that there is none left.
    assert orientation == 1
    assert (back.exif is None) == (source.exif is None)
    # The subject stays where it is: alpha reduced again is the source's.
    if source.alpha is not None and back.alpha is not None:
        full = PIL.Image.fromarray(back.alpha).resize((source.width, source.height), PIL.Image.Resampling.BOX)
        assert np.abs(np.asarray(full, float) - source.alpha).mean() < 2
    # Segmentation is given 8-bit sRGB of the same size.
    assert feed.pixels.shape == (height, width, 3)
    assert feed.pixels.dtype == np.uint8
