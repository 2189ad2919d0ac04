"""Sources that are hard to matte have defined results, through the whole stage and from real files."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest

from imgpipe.images.colour import to_srgb
from imgpipe.images.decode import decode
from imgpipe.images.image import Image
from imgpipe.matting.matte import NO_SUBJECT
from imgpipe.records import Status
from imgpipe.settings import LimitSettings, RembgSettings
from imgpipe.stages import matte
from imgpipe.stages.matte import MatteStage
from imgpipe.stages.protocol import StageResult
from imgpipe_tests.images import profiles


@pytest.fixture(scope="module")
def stage() -> MatteStage:
    return MatteStage(RembgSettings(model="classical"), Path(), "auto")


def _run(stage: MatteStage, image: Image) -> StageResult:
    result = stage.run({"source": image}, {})
    matted = result.outputs["matted"]
    assert isinstance(matted, Image)
    assert (matted.width, matted.height) == (image.width, image.height)
    assert matted.bit_depth == image.bit_depth
    assert matted.has_alpha
    assert result.details["subject"] == ("found" if result.metrics["subject_found"] else "none")
    assert (result.details["subject"] == "none") == (NO_SUBJECT in result.reasons)
    return result


def _alpha(result: StageResult) -> np.ndarray:
    matted = result.outputs["matted"]
    assert isinstance(matted, Image)
    return np.asarray(matted.pixels[..., -1])


def _disc(height: int, width: int, full: int = 255) -> np.ndarray:
    ys, xs = np.mgrid[0:height, 0:width]
    inside = np.hypot(ys - height / 2, xs - width / 2) < min(height, width) / 4
    return np.where(inside[..., None], (full * 0.8, full * 0.2, full * 0.2), (full * 0.9,) * 3)


def _file(picture: PIL.Image.Image, file_format: str = "PNG", **options: object) -> Image:
    buffer = io.BytesIO()
    picture.save(buffer, file_format, **options)
    return decode(buffer.getvalue(), name="picture", limits=LimitSettings())


@pytest.mark.parametrize(("model", "expected"), [("isnet-anime", 9), ("classical", 4)])
def test_cores_do_not_wait_for_a_network(model: str, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matte, "usable_cores", lambda: 8)
    assert MatteStage(RembgSettings(model=model), Path(), "auto").concurrency == expected


@pytest.mark.parametrize("channels", [1, 3])
def test_an_empty_image_has_no_subject(stage: MatteStage, channels: int) -> None:
    result = _run(stage, Image(np.full((60, 80, channels), 200, np.uint8)))
    assert result.status is Status.REJECTED
    assert result.reasons[0] == NO_SUBJECT
    assert not _alpha(result).any()


def test_a_subject_without_background_is_not_accepted(stage: MatteStage) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (90, 70, 3)).astype(np.uint8)
    result = _run(stage, Image(picture))
    assert result.status is Status.REJECTED


def test_a_frame_filled_by_one_subject_is_not_accepted(stage: MatteStage) -> None:
    picture = np.full((90, 90, 3), (40, 60, 160), np.uint8)
    picture[:4, :20] = (250, 250, 240)
    result = _run(stage, Image(picture))
    assert result.status is Status.REJECTED or result.metrics["foreground_share"] < 0.1


def test_grey_with_alpha_stays_grey_with_alpha(stage: MatteStage) -> None:
    alpha = np.zeros((64, 64), np.uint8)
    alpha[16:48, 16:48] = 255
    alpha[30:34, 30:34] = 100
    source = _file(PIL.Image.merge("LA", [PIL.Image.new("L", (64, 64), 90), PIL.Image.fromarray(alpha)]))
    assert source.channels == 2
    result = _run(stage, source)
    assert result.status is Status.OK
    np.testing.assert_array_equal(_alpha(result), alpha)
    assert result.outputs["matted"].channels == 2  # type: ignore[union-attr]


def test_a_palette_with_a_transparent_entry(stage: MatteStage) -> None:
    indices = np.zeros((64, 64), np.uint8)
    indices[20:44, 20:44] = 1
    picture = PIL.Image.fromarray(indices, "P")
    picture.putpalette([255, 0, 255, 30, 140, 60])
    result = _run(stage, _file(picture, transparency=0))
    assert result.status is Status.OK
    np.testing.assert_array_equal(_alpha(result) > 0, indices == 1)


def test_sixteen_bits_stay_sixteen_bits(stage: MatteStage) -> None:
    deep = np.rint(_disc(96, 96, 65535)).astype(np.uint16) | np.uint16(0x0101)
    result = _run(stage, Image(deep))
    assert result.status is Status.OK
    matted = result.outputs["matted"]
    assert isinstance(matted, Image)
    assert matted.pixels.dtype == np.uint16
    opaque = matted.pixels[..., 3] == 65535
    assert opaque.sum() > 1000
    np.testing.assert_array_equal(matted.pixels[opaque][:, :3], deep[opaque])


@pytest.mark.parametrize("shape", [(1, 1), (1, 200), (200, 1), (2, 2), (8, 8), (3, 500)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_tiny_and_thin_images_are_defined(stage: MatteStage, shape: tuple[int, int], dtype: type) -> None:
    full = int(np.iinfo(dtype).max)
    image = Image(np.rint(_disc(*shape, full)).astype(dtype))
    result = _run(stage, image)
    again = _run(stage, image)
    np.testing.assert_array_equal(_alpha(result), _alpha(again))
    assert all(np.isfinite(value) for value in result.metrics.values())
    assert result.status in (Status.OK, Status.REJECTED)
    assert bool(result.reasons) or result.status is Status.OK


def test_eight_pixels_with_a_clear_subject(stage: MatteStage) -> None:
    picture = np.full((8, 8, 3), 240, np.uint8)
    picture[2:6, 2:6] = (20, 30, 120)
    result = _run(stage, Image(picture))
    np.testing.assert_array_equal(_alpha(result)[3:5, 3:5], 255)
    assert not _alpha(result)[[0, -1]].any()


@pytest.mark.parametrize("gamma", [1.0, 2.2])
@pytest.mark.parametrize("primaries", [profiles.SRGB, profiles.P3])
def test_a_profile_does_not_change_the_matte(
    stage: MatteStage, primaries: tuple[tuple[float, ...], ...], gamma: float
) -> None:
    """The same picture in another colour space: the same alpha and colours; opaque pixels keep their bits."""
    shown = cv2.GaussianBlur(_disc(96, 128) / 255, (0, 0), 1.5)
    srgb = Image(np.round(shown * 65535).astype(np.uint16))
    icc = profiles.rgb("sRGB, by its name", primaries, gamma)
    other = Image(profiles.stored(shown, primaries, gamma), icc=icc)
    matted = [_run(stage, image).outputs["matted"] for image in (srgb, other)]
    assert isinstance(matted[0], Image)
    assert isinstance(matted[1], Image)
    assert matted[1].icc == icc
    one, two = matted[0].pixels, to_srgb(matted[1]).pixels
    assert np.abs(one[..., 3].astype(int) - two[..., 3]).max() < 257
    visible = one[..., 3] > 2 * 257  # below, an estimated colour moves by more than a level for nothing
    assert np.abs(one[visible].astype(int) - two[visible]).max() < 257
    opaque = matted[1].pixels[..., 3] == 65535
    assert opaque.any()
    assert np.array_equal(matted[1].pixels[opaque][:, :3], other.pixels[opaque])
