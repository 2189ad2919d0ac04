"""The first frame of a GIF on its screen, against the pixels that were written."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from imgpipe.images.decode import decode
from imgpipe.settings import LimitSettings
from imgpipe_tests.images import sources

LIMITS = LimitSettings()
WIDTH, HEIGHT = sources.WIDTH, sources.HEIGHT
KINDS = ["grey", "grey with a transparent level", "colours", "colours with a transparent one"]


def _moved(picture: PIL.Image.Image, screen: tuple[int, int], at: tuple[int, int], **options: Any) -> bytes:
    """The picture as a frame at some place of a larger screen."""
    buffer = io.BytesIO()
    picture.save(buffer, "GIF", **options)
    data = bytearray(buffer.getvalue())
    frame = data.index(b"," + struct.pack("<HHHH", 0, 0, *picture.size))
    data[6:10] = struct.pack("<HH", *screen)
    data[frame + 1 : frame + 5] = struct.pack("<HH", *at)
    return bytes(data)


def _kind(kind: str) -> tuple[PIL.Image.Image, Any]:
    """A picture to write, and (height, width, 1..4) as it is read where it fills the screen."""
    indices, colours, _ = sources.palette_picture()
    picture = PIL.Image.fromarray(indices)
    if kind.startswith("grey"):
        ramp = np.arange(HEIGHT * WIDTH, dtype=np.uint16).astype(np.uint8).reshape(HEIGHT, WIDTH)
        picture = PIL.Image.fromarray(ramp)
        if kind == "grey":
            return picture, ramp[..., None]
        picture.info["transparency"] = 7
        return picture, np.dstack([ramp, np.where(ramp == 7, 0, 255)])
    picture.putpalette(colours.tobytes())
    expected = colours[indices]
    if kind == "colours with a transparent one":
        picture.info["transparency"] = 3
        alpha = np.where(indices == 3, 0, 255)[..., None].astype(np.uint8)
        expected = np.concatenate([expected, alpha], axis=2)
    return picture, expected


@pytest.mark.parametrize("options", [{}, {"interlace": 1}, {"background": 5}])
@pytest.mark.parametrize("kind", KINDS)
def test_what_the_first_frame_leaves_free_is_transparent(kind: str, options: dict[str, Any]) -> None:
    picture, inside = _kind(kind)
    for screen, at in (((40, 30), (5, 7)), ((WIDTH + 1, HEIGHT), (0, 0)), ((WIDTH, HEIGHT + 9), (0, 9))):
        decoded = decode(_moved(picture, screen, at, **options), name="moved.gif", limits=LIMITS)
        assert decoded.alpha is not None
        here = np.s_[at[1] : at[1] + HEIGHT, at[0] : at[0] + WIDTH]
        alpha = inside[..., -1] if inside.shape[2] in (2, 4) else np.full((HEIGHT, WIDTH), 255)
        colours = inside[..., : 3 if inside.shape[2] > 2 else 1]
        assert np.array_equal(decoded.colour[here][alpha > 0], colours[alpha > 0])
        assert np.array_equal(decoded.alpha[here], alpha)
        assert np.count_nonzero(decoded.alpha) == np.count_nonzero(alpha)
        size = f"{WIDTH}x{HEIGHT} of {screen[0]}x{screen[1]} px"
        assert decoded.notes == (f"the GIF's first frame covers {size}: transparent around it",)


@pytest.mark.parametrize("kind", KINDS)
def test_a_frame_that_fills_the_screen_stays_what_it_is(kind: str) -> None:
    picture, expected = _kind(kind)
    for screen in ((WIDTH, HEIGHT), (3, 4)):  # a screen that is too small grows
        decoded = decode(_moved(picture, screen, (0, 0)), name="whole.gif", limits=LIMITS)
        shown = decoded.pixels[..., -1] > 0 if decoded.has_alpha else np.ones((HEIGHT, WIDTH), bool)
        assert decoded.pixels.shape == expected.shape
        assert np.array_equal(decoded.pixels[shown], expected[shown])
        assert decoded.notes == ()


@pytest.mark.shared
def test_the_handed_file_is_libvips_picture(shared: Path) -> None:
    data = (shared / "cases" / "images" / "gif-small-first-frame" / "offset.gif").read_bytes()
    decoded = decode(data, name="offset.gif", limits=LIMITS)
    assert decoded.pixels.shape == (32, 48, 4)
    assert decoded.pixels[0, 0].tolist() == [0, 0, 0, 0]
    assert np.allclose(decoded.pixels[..., :3].mean((0, 1)), [32.46, 32.19, 31.45], atol=0.01)
    assert decoded.pixels[..., 3].mean() == 63.75  # a quarter is covered
