"""What is written is what other libraries read, whichever way of packing it took."""

from __future__ import annotations

import io
import itertools
import zlib
from typing import Any

import cv2
import numpy as np
import PIL.Image
import pytest

from imgpipe.images.encode import encode
from imgpipe.images.formats import png_write
from imgpipe.images.formats.png import chunks
from imgpipe.images.formats.png_filter import filter_rows
from imgpipe.images.formats.png_write import write_indexed_png, write_png
from imgpipe.images.image import Image
from imgpipe_tests.images import sources
from imgpipe_tests.memory import numpy_peak
from imgpipe_tests.opencv_files import opencv_decode

EFFORTS = ["fast", "balanced", "small"]


def _read(data: bytes) -> Any:
    """(height, width, channels) by OpenCV, which makes RGBA of grey + alpha."""
    seen = opencv_decode(data, cv2.IMREAD_UNCHANGED)
    seen = seen.reshape(*seen.shape[:2], -1)
    order = {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[seen.shape[2]]
    return seen[..., order]


def _expected(pixels: Any) -> Any:
    return pixels[..., [0, 0, 0, 1]] if pixels.shape[2] == 2 else pixels


@pytest.mark.parametrize("effort", EFFORTS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_kind_of_picture(effort: Any, dtype: Any) -> None:
    """Noise, ramps, flat areas and repeated patterns, of all channels, down to one pixel."""
    rng = np.random.default_rng(0)
    top = np.iinfo(dtype).max
    for channels, (height, width) in itertools.product(range(1, 5), [(1, 1), (1, 50), (50, 1), (33, 47)]):
        noise = rng.integers(0, top + 1, (height, width, channels)).astype(dtype)
        y, x = np.mgrid[0:height, 0:width]
        ramp = ((x + 2 * y)[..., None] * np.arange(1, channels + 1) * (top // 255)).astype(dtype)
        flat = np.full_like(noise, top // 3)
        pattern = noise[y % 5, x % 7]
        for pixels in (noise, ramp, flat, pattern):
            assert np.array_equal(_read(write_png(pixels, effort)), _expected(pixels))


@pytest.mark.parametrize("filter_name", ["none", "up", "average", "paeth", "adaptive"])
@pytest.mark.parametrize(
    "packing", [png_write._RUNS, png_write._CODES_ONLY, png_write._Packing(3), png_write._Packing(9)], ids=str
)
def test_every_way_of_packing(filter_name: Any, packing: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(png_write._PLANS, "fast", ((filter_name,), (packing,)))
    for channels, depth in itertools.product(range(1, 5), (8, 16)):
        pixels = np.tile(sources.picture(channels, depth), (9, 7, 1))
        assert np.array_equal(_read(write_png(pixels, "fast")), _expected(pixels))


@pytest.mark.parametrize("count", [1, 17, 256])
def test_a_picture_of_indices(count: int) -> None:
    rng = np.random.default_rng(count)
    colours = rng.integers(0, 256, (count, 3), np.uint8)
    indices = rng.integers(0, count, (31, 45)).astype(np.uint8)
    data = write_indexed_png(indices, colours)
    assert np.array_equal(_read(data), colours[indices])
    with PIL.Image.open(io.BytesIO(data)) as opened:
        assert (opened.mode, opened.size) == ("P", (45, 31))


def test_all_16_bit_levels_are_kept() -> None:
    ramp = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1)
    assert np.array_equal(_read(write_png(ramp, "fast")), ramp)


def test_the_way_follows_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise of few levels: codes; a repeated pattern: looking back; and both smaller than the other way."""
    taken = []
    deflate = png_write._deflate

    def watched(rows: Any, packing: Any) -> bytes:
        taken.append(packing)
        return deflate(rows, packing)

    monkeypatch.setattr(png_write, "_deflate", watched)
    rng = np.random.default_rng(1)
    noise = rng.normal(128, 4, (600, 600, 4)).astype(np.uint8)
    pattern = np.tile(rng.integers(0, 256, (600, 30, 4), np.uint8), (1, 20, 1))
    sizes, packings = {}, {}
    for name, pixels in (("noise", noise), ("pattern", pattern)):
        sizes[name] = len(write_png(pixels, "fast"))
        packings[name] = taken[-1]
    assert packings["noise"] == png_write._CODES_ONLY
    assert packings["pattern"].level == 3
    assert sizes["pattern"] < pattern.nbytes / 8
    for name, pixels in (("noise", noise), ("pattern", pattern)):
        buffer = io.BytesIO()
        PIL.Image.fromarray(pixels).save(buffer, "PNG")
        assert sizes[name] < 1.1 * len(buffer.getvalue())


def test_the_filter_follows_the_picture() -> None:
    """What a network makes, smooth with a fine grain: averages. Flat areas with sharp edges: Paeth."""
    rng = np.random.default_rng(4)
    y, x = np.mgrid[0:300, 0:400]
    waves = 128 + 60 * np.sin(x / 40) + 50 * np.cos(y / 30)
    smooth = (waves[..., None] + rng.normal(0, 1.5, (300, 400, 3))).astype(np.uint8)
    drawn = np.where(((x // 37 + y // 23) % 2 == 0)[..., None], smooth[150, 200], smooth[0, 0])
    assert _filters(write_png(smooth, "fast")) == {3}
    assert _filters(write_png(drawn, "fast")) == {4}


def _filters(data: bytes) -> set[int]:
    """The numbers in front of the rows of an RGB picture of 8 bits and 400 px."""
    packed = b"".join(chunk.body(data) for chunk in chunks(data, "x") if chunk.kind == b"IDAT")
    return set(zlib.decompress(packed)[:: 1 + 3 * 400])


def test_a_sample_is_a_small_part_of_a_large_picture() -> None:
    bands = png_write._sample(4096, 16384)
    assert len(bands) == 4
    assert sum(end - top for top, end in bands) <= 4096 / 15
    assert png_write._sample(300, 200) == [(0, 300)]


@pytest.mark.parametrize("kind", ["up", "average", "paeth"])
def test_a_band_is_filtered_as_in_its_picture(kind: Any) -> None:
    rows = np.random.default_rng(6).integers(0, 256, (60, 90), np.uint8)
    whole = filter_rows(rows, 3, kind)
    bands = [(0, 4), (10, 15), (40, 41)]
    expected = np.concatenate([whole[top:end] for top, end in bands])
    assert np.array_equal(png_write._filter_bands(rows.reshape(60, 30, 3), bands, 3, kind), expected)


def test_a_block_is_a_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(png_write, "_BLOCK_BYTES", 1 << 18)
    pixels = np.random.default_rng(2).integers(0, 256, (1500, 500, 3), np.uint8)
    data = write_png(pixels, "fast")
    lengths = [chunk.length for chunk in chunks(data, "x") if chunk.kind == b"IDAT"]
    assert len(lengths) > 4
    assert 0 < min(lengths) < max(lengths) < 1 << 20
    assert np.array_equal(_read(data), pixels)


def test_rows_need_not_lie_together() -> None:
    wide = np.random.default_rng(3).integers(0, 256, (40, 80, 4), np.uint8)
    assert np.array_equal(_read(write_png(wide[::2, 10:30, :3], "fast")), wide[::2, 10:30, :3])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_beside_pixels_and_file_a_block_is_held(dtype: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(png_write, "_BLOCK_BYTES", 1 << 18)
    pixels: Any = np.random.default_rng(5).integers(0, np.iinfo(dtype).max, (1500, 1500, 3)).astype(dtype)
    with numpy_peak() as peak:
        data = encode(Image(pixels))
    assert len(data) > 0.9 * pixels.nbytes  # Noise: nothing is saved.
    # The file, which is moved as it grows; a filtered copy and one with metadata would make it more than 3.
    assert peak.bytes < 2 * pixels.nbytes
