"""The files of the package are the drawings that the generator makes; Pillow and OpenCV read them."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import PIL.Image
import PIL.ImageCms
import PIL.ImageOps
import pytest

from imgpipe.errors import ConfigError
from imgpipe.samples.files import write_samples
from imgpipe_tests.opencv_files import opencv_decode
from training.samples.drawings import Drawing


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], Path]:
    base = tmp_path_factory.mktemp("samples")
    return write_samples(base / "raw", base / "masks"), base / "masks"


def test_files_are_the_drawings(written: tuple[list[Path], Path], drawings: list[Drawing]) -> None:
    paths, masks = written
    assert [path.stem for path in paths] == [d.name for d in drawings]
    assert sorted(paths[0].parent.iterdir()) == sorted(paths)
    for path, d in zip(paths, drawings, strict=True):
        with PIL.Image.open(path) as opened:
            assert opened.format == d.file_format, path
            upright = PIL.ImageOps.exif_transpose(opened)
            assert upright.size == (d.image.width, d.image.height), path
        mask = np.asarray(PIL.Image.open(masks / f"{d.name}.png"))
        assert np.array_equal(mask, d.mask), path


def test_lossless_files_hold_every_pixel(written: tuple[list[Path], Path], drawings: list[Drawing]) -> None:
    for path, d in zip(written[0], drawings, strict=True):
        if d.file_format == "JPEG":
            continue
        if d.image.bit_depth == 16:
            pixels = opencv_decode(path.read_bytes(), cv2.IMREAD_UNCHANGED)[..., ::-1]
        else:
            pixels = np.atleast_3d(np.asarray(PIL.Image.open(path)))
        assert pixels.dtype == d.image.pixels.dtype, path
        assert np.array_equal(pixels, d.image.pixels), path


def test_jpegs_are_close_and_the_bad_one_has_blocks(
    written: tuple[list[Path], Path], drawings: list[Drawing]
) -> None:
    for path, d in zip(written[0], drawings, strict=True):
        if d.file_format != "JPEG":
            continue
        with PIL.Image.open(path) as opened:
            sampling = opened.layer[0][1:3]  # type: ignore[attr-defined]
            pixels = np.asarray(PIL.ImageOps.exif_transpose(opened)).astype(float)
        error = pixels - d.image.pixels
        psnr = 10 * np.log10(255**2 / (error**2).mean())
        if d.jpeg_quality < 50:
            assert 24 < psnr < 36, (path, psnr)
            assert sampling == (2, 2), "colours at half size"
            on_grid, off_grid = grid_steps(pixels, d.image.pixels.astype(float))
            assert on_grid > 1.15 * off_grid, (
                f"steps at the 8 px grid {on_grid:.3f}, elsewhere {off_grid:.3f}"
            )
        else:
            assert psnr > 36, (path, psnr)
            assert sampling == (1, 1)


def grid_steps(pixels: npt.NDArray[np.float64], drawn: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Mean step between neighbouring columns where the drawing is flat: (at 8 px borders, elsewhere)."""
    flat = np.abs(np.diff(drawn, axis=1)).max(axis=2) == 0
    steps = np.abs(np.diff(pixels.mean(axis=2), axis=1))
    border = (np.arange(steps.shape[1]) % 8 == 7)[None, :]
    return float(steps[flat & border].mean()), float(steps[flat & ~border].mean())


def test_the_rotated_file_has_its_tag_and_its_profile(
    written: tuple[list[Path], Path], drawings: list[Drawing]
) -> None:
    (turned,) = (d for d in drawings if d.stored_orientation != 1)
    path = next(path for path in written[0] if path.stem == turned.name)
    with PIL.Image.open(path) as opened:
        assert opened.size == (turned.image.height, turned.image.width), "stored lying on its side"
        assert opened.getexif()[0x0112] == 6
        profile = PIL.ImageCms.ImageCmsProfile(io.BytesIO(opened.info["icc_profile"]))
        assert "sRGB" in PIL.ImageCms.getProfileDescription(profile)


def test_writing_again_changes_nothing_and_repairs_what_changed(
    written: tuple[list[Path], Path], tmp_path: Path
) -> None:
    paths = [Path(shutil.copy2(path, tmp_path)) for path in written[0]]
    times = [path.stat().st_mtime_ns for path in paths]
    good = paths[3].read_bytes()
    paths[3].write_bytes(b"broken")
    broken = paths[3].stat().st_mtime_ns
    assert write_samples(tmp_path) == paths
    assert paths[3].read_bytes() == good
    assert [path.stat().st_mtime_ns for path in paths[:3]] == times[:3]
    assert paths[3].stat().st_mtime_ns >= broken
    assert len(list(tmp_path.iterdir())) == len(paths), "no temporary file and no masks beside the sources"


def test_an_impossible_folder_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigError, match="give another folder"):
        write_samples(tmp_path / "file" / "raw")
