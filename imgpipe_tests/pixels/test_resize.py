"""Against closed forms, and Pillow's and scikit-image's own resampling."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import PIL.Image
import pytest
import skimage.metrics

from imgpipe.errors import ImageError
from imgpipe.images.decode import decode
from imgpipe.images.encode import encode
from imgpipe.images.image import Image
from imgpipe.pixels.resize import Kernel, area_average, resize, resize_array
from imgpipe.settings import LimitSettings
from imgpipe_tests.enhancement.pictures import disc, waves
from imgpipe_tests.images import sources
from imgpipe_tests.memory import numpy_peak

KERNELS = ["area", "lanczos", "bicubic"]


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("size", [(5, 7), (46, 34), (11, 40), (1, 1)])
@pytest.mark.parametrize(("channels", "depth"), list(itertools.product((1, 2, 3, 4), (8, 16))))
def test_a_constant_stays_constant(kernel: Any, size: tuple[int, int], channels: int, depth: int) -> None:
    top = (1 << depth) - 1
    pixels = np.full((17, 23, channels), int(0.6 * top), np.uint8 if depth == 8 else np.uint16)
    image = Image(pixels, icc=b"i", exif=b"e", xmp=b"x", source_format="PNG", notes=("n",))
    result = resize(image, *size, kernel)
    assert result.pixels.shape == (size[1], size[0], channels)
    assert result.pixels.dtype == pixels.dtype
    assert np.abs(result.pixels.astype(int) - int(0.6 * top)).max() <= (0 if depth == 8 else 1)
    carried = (result.icc, result.exif, result.xmp, result.source_format, result.notes)
    assert carried == (b"i", b"e", b"x", "PNG", ("n",))


def test_the_same_size_is_the_same_picture() -> None:
    """A 16-bit ramp with all 65536 levels keeps them all; colour under alpha 0 too."""
    ramp = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1)
    assert np.array_equal(resize(Image(ramp), 256, 256, "lanczos").pixels, ramp)


def test_a_16_bit_gradient_through_files_and_resizing() -> None:
    """0..65535, rows there and back: a file and a factor of 1 keep every level; 1.5x and back is close."""
    gradient = np.linspace(0, 65535, 512 * 512).round().astype(np.uint16).reshape(512, 512, 1)
    gradient[1::2] = gradient[1::2, ::-1].copy()
    limits = LimitSettings()
    for channels in (1, 3):
        image = Image(np.repeat(gradient, channels, axis=2))
        stored = decode(encode(image), name="gradient", limits=limits)
        same = decode(encode(resize(stored, 512, 512, "lanczos")), name="same", limits=limits)
        assert len(np.unique(same.pixels)) == 65536
        for kernel in ("lanczos", "bicubic"):
            there = decode(encode(resize(stored, 768, 768, kernel)), name="there", limits=limits)
            assert len(np.unique(there.pixels)) > 40_000
            back = resize(there, 512, 512, kernel)
            psnr = skimage.metrics.peak_signal_noise_ratio(image.pixels, back.pixels, data_range=65535)
            assert psnr > 60.0


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("size", [(8, 8), (64, 64), (24, 24), (13, 57)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_no_fringe_on_checkerboard_alpha(kernel: Any, size: tuple[int, int], dtype: Any) -> None:
    """Red where visible, green where not: no green may appear, whatever the alpha."""
    top = np.iinfo(dtype).max
    pixels = np.zeros((32, 32, 4), dtype)
    visible = np.indices((32, 32)).sum(axis=0) % 2 == 0
    pixels[visible] = [top, 0, 0, top]
    pixels[~visible] = [0, top, 0, 0]
    result = resize(Image(pixels), *size, kernel).pixels
    shown = result[..., 3] > 0
    assert result[shown][:, 1].max(initial=0) == 0
    assert result[shown][:, 0].min() == top
    assert not result[~shown].any()


def test_area_is_the_exact_mean() -> None:
    rng = np.random.default_rng(0)
    array = rng.random((24, 36, 3), np.float32)
    whole = array.reshape(8, 3, 9, 4, 3).mean(axis=(1, 3))
    assert np.abs(resize_array(array, 9, 8, "area") - whole).max() < 1e-6
    # 5 -> 2: each result covers two pixels and a half.
    row = np.array([1, 2, 4, 8, 16], np.float32).reshape(1, 5, 1)
    expected = np.array([(1 + 2 + 4 / 2) / 2.5, (4 / 2 + 8 + 16) / 2.5])
    assert np.abs(resize_array(row, 2, 1, "area").ravel() - expected).max() < 1e-6


@pytest.mark.parametrize("kernel", KERNELS)
def test_reduction_antialiases(kernel: Any) -> None:
    """Stripes finer than the result's pixels become their mean."""
    stripes = np.zeros((64, 64, 1), np.float32)
    stripes[:, ::2] = 1.0
    inner = resize_array(stripes, 16, 16, kernel)[4:-4, 4:-4]
    assert np.abs(inner - 0.5).max() < 0.02


@pytest.mark.parametrize(("kernel", "method"), [("lanczos", 1), ("bicubic", 3)])
def test_kernels_are_pillows(kernel: Any, method: int) -> None:
    array = np.random.default_rng(1).random((20, 30, 2), np.float32)
    for size in ((45, 33), (12, 7)):
        planes = [
            PIL.Image.fromarray(np.ascontiguousarray(array[..., k])).resize(size, method) for k in (0, 1)
        ]
        assert np.array_equal(resize_array(array, *size, kernel), np.dstack([np.asarray(p) for p in planes]))


def test_nothing_moves() -> None:
    """The centre of mass of a blob stays where it is, in relative coordinates."""
    y, x = np.mgrid[0:48, 0:64]
    blob = np.exp(-((x - 40.5) ** 2 + (y - 18.5) ** 2) / 18.0).astype(np.float32)[..., None]
    kernel: Any
    for kernel, (w, h) in itertools.product(KERNELS, [(128, 96), (32, 24)]):
        small = resize_array(blob, w, h, kernel)[..., 0]
        ys, xs = np.mgrid[0:h, 0:w]
        centre = [float((axis * small).sum() / small.sum()) for axis in (xs, ys)]
        assert (centre[0] + 0.5) * 64 / w == pytest.approx(41.0, abs=0.05)
        assert (centre[1] + 0.5) * 48 / h == pytest.approx(19.0, abs=0.05)


def test_overshoot_is_clipped_not_wrapped() -> None:
    edge: Any = np.zeros((8, 8, 1), np.uint8)
    edge[:, 4:] = 255
    assert (resize_array(edge.astype(np.float32) / 255, 32, 32, "lanczos") > 1.01).any()
    result = resize(Image(edge), 32, 32, "lanczos").pixels.astype(int)
    assert (np.abs(np.diff(result[..., 0], axis=1)) < 128).all(), "a wrapped overshoot jumps"


@pytest.mark.parametrize("size", [(0, 5), (5, -1)])
def test_impossible_sizes(size: tuple[int, int]) -> None:
    with pytest.raises(ImageError, match="at least 1x1 px"):
        resize(Image(sources.picture(3, 8)), *size, "area")
    with pytest.raises(ImageError, match="shape"):
        resize_array(np.zeros((3, 3), np.float32), 2, 2, "area")


def _levels(values: np.ndarray[Any, Any], top: int) -> np.ndarray[Any, Any]:
    return np.floor(np.clip(values, 0, top) + 0.5).astype(int)


@pytest.mark.parametrize("kernel", ["lanczos", "bicubic"])
@pytest.mark.parametrize("hidden", [0, 255])
@pytest.mark.parametrize("size", [120, 67, 20])
def test_hard_edges_leave_no_ghost_line(kernel: Any, hidden: int, size: int) -> None:
    image = Image(disc(40, 12, hidden))
    result = resize(image, size, size, kernel).pixels
    step = 40 / size
    y, x = (np.mgrid[0:size, 0:size] + 0.5) * step - 20
    distance = np.hypot(x, y)
    reach = 1.5 * max(1.0, step) * 1.5
    assert (result[distance < 12 - reach][:, 3] == 255).all(), "opaque stays exactly opaque"
    assert (result[distance > 12 + reach] == 0).all(), "empty stays exactly empty"
    shown = result[..., 3] > 0
    assert np.abs(result[shown][:, :3].astype(int) - (180, 120, 40)).max() <= 1


def test_a_plain_resize_does_leave_one() -> None:
    """What the bound is for: beside a straight edge, 8 of 255 outside and 247 inside."""
    pixels = np.zeros((12, 20, 4), np.uint8)
    pixels[:, :10] = (180, 120, 40, 255)
    plain = _levels(resize_array(pixels[..., 3:], 60, 36, "lanczos"), 255)[18, :, 0]
    bounded = resize(Image(pixels), 60, 36, "lanczos").pixels[18, :, 3]
    assert plain[32:].max() >= 5
    assert plain[:28].min() <= 250
    assert bounded[32:].max() == 0
    assert bounded[:28].min() == 255
    assert np.array_equal(plain[28:32], bounded[28:32]), "the edge itself stays as sharp"


@pytest.mark.parametrize("channels", [2, 4])
@pytest.mark.parametrize("depth", [8, 16])
def test_soft_alpha_is_the_plain_resize(channels: int, depth: int) -> None:
    pixels = waves(24, 36, channels, depth)
    top = np.iinfo(pixels.dtype).max
    y, x = np.mgrid[0:24, 0:36]
    pixels[..., -1] = top // 4 + (top // 120) * (x + y)  # within its neighbours everywhere
    image = Image(pixels)
    inner = np.s_[3:-3, 3:-3]
    alpha = pixels[..., -1:] / np.float32(top)
    layers = resize_array(np.dstack([pixels[..., :-1] * alpha, alpha]).astype(np.float32), 54, 36, "lanczos")
    plain = _levels(np.dstack([layers[..., :-1] / layers[..., -1:], layers[..., -1:] * top]), top)
    assert np.abs(resize(image, 54, 36, "lanczos").pixels[inner].astype(int) - plain[inner]).max() == 0


@pytest.mark.parametrize("axis", [0, 1])
def test_reduction_averages_all_that_a_pixel_covers(axis: int) -> None:
    """Opaque lines, 3 of every 8, become their mean, not what lies at the pixel's centre."""
    position = np.indices((96, 96))[axis] % 8
    alpha = np.where((position >= 3) & (position < 6), 255, 0).astype(np.uint8)
    result = resize(Image(np.dstack([alpha, alpha])), 12, 12, "lanczos").pixels[3:-3, 3:-3]
    assert np.abs(result[..., 1].astype(int) - 255 * 3 / 8).max() <= 8
    assert (result[..., 0] == 255).all()


def test_area_average_never_enlarges() -> None:
    with pytest.raises(ValueError, match="cannot enlarge"):
        area_average(np.zeros((4, 4), np.float32), (5, 4))


@pytest.mark.parametrize("size", [(90, 70), (211, 140), (31, 29), (90, 33)])
@pytest.mark.parametrize("kernel", ["lanczos", "bicubic"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_strips_make_the_same_picture_as_one_strip(
    size: tuple[int, int], kernel: Kernel, dtype: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(3)
    full = np.iinfo(dtype).max
    pixels: Any = rng.integers(0, full + 1, (70, 45, 4)).astype(dtype)
    pixels[20:40, 10:30, 3], pixels[50:, :, 3] = 0, full
    whole = resize(Image(pixels), *size, kernel).pixels
    monkeypatch.setattr("imgpipe.pixels.resize.STRIP_PIXELS", 1000)
    monkeypatch.setattr("imgpipe.pixels.alpha._STRIP_PIXELS", 300)
    strips = resize(Image(pixels), *size, kernel).pixels
    difference = np.abs(strips.astype(int) - whole)
    assert difference.max() <= 1, difference.max()  # The order of a sum: a 16-bit level now and then.
    assert np.mean(difference > 0) < 1e-3
    assert np.array_equal(strips[..., 3], whole[..., 3])


@pytest.mark.parametrize("channels", [3, 4])
def test_beside_the_pictures_an_enlargement_holds_strips(channels: int) -> None:
    pixels = np.full((1200, 1200, channels), 40_000, np.uint16)
    with numpy_peak() as peak:
        result = resize(Image(pixels), 2400, 2400, "lanczos")
    # A float32 plane of the result for each channel would take another 2 of its size.
    assert peak.bytes < 1.5 * result.pixels.nbytes
