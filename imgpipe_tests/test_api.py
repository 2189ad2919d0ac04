"""``import imgpipe``: what its functions take and give, and the examples of docs/python.md."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageDraw
import pytest

import imgpipe
from imgpipe import errors
from imgpipe.images.encode import encode
from imgpipe.images.image import Image
from imgpipe_tests.imports import loaded_by

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "python.md").read_text(), re.DOTALL)
LANCZOS: dict[str, Any] = {"model": "lanczos", "scale": 2}


pytestmark = pytest.mark.usefixtures("own_folder")


@pytest.fixture(scope="module")
def drawing() -> Image:
    """One that the classical matting is sure of: a disc on white."""
    large = PIL.Image.new("RGB", (800, 800), "white")
    PIL.ImageDraw.Draw(large).ellipse((200, 160, 600, 640), fill=(40, 90, 160))
    return Image(np.asarray(large.resize((200, 200), PIL.Image.Resampling.BOX)))


def test_the_result_is_of_the_kind_that_was_given(tmp_path: Path) -> None:
    ramp = np.add.outer(np.arange(40), np.arange(48)).astype(np.uint8) * 2
    rgb = np.stack([ramp, ramp[::-1], ramp[:, ::-1]], axis=-1)
    PIL.Image.fromarray(rgb).save(tmp_path / "ramp.png")
    data = (tmp_path / "ramp.png").read_bytes()
    from_array = imgpipe.upscale(rgb, **LANCZOS)
    assert from_array.shape == (80, 96, 3)
    assert from_array.dtype == np.uint8
    from_bytes = imgpipe.upscale(data, **LANCZOS)
    assert np.array_equal(np.asarray(PIL.Image.open(io.BytesIO(from_bytes))), from_array)
    for given in (PIL.Image.fromarray(rgb), tmp_path / "ramp.png", str(tmp_path / "ramp.png")):
        made = imgpipe.upscale(given, **LANCZOS)
        assert isinstance(made, PIL.Image.Image)
        assert np.array_equal(np.asarray(made), from_array)
    grey = imgpipe.upscale(ramp, **LANCZOS)
    assert grey.shape == (80, 96, 1)


def test_16_bits_stay_and_are_never_cut_for_pillow(tmp_path: Path) -> None:
    deep = np.add.outer(np.arange(32), np.arange(32)).astype(np.uint16)[..., None].repeat(3, 2) * 1001
    assert imgpipe.upscale(deep, **LANCZOS).dtype == np.uint16
    path = tmp_path / "deep.png"
    path.write_bytes(encode(Image(deep)))
    with pytest.raises(errors.ConfigError, match="8 bits for a PIL image, it has 16"):
        imgpipe.upscale(path, **LANCZOS)


def test_profile_and_exif_of_a_pil_image_are_kept() -> None:
    from PIL import ImageCms

    picture = PIL.Image.new("RGB", (32, 32), (200, 100, 50))
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture.info["icc_profile"] = profile
    picture.getexif()[0x010E] = "a title"
    made = imgpipe.upscale(picture, **LANCZOS)
    assert made.info["icc_profile"] == profile
    assert made.getexif()[0x010E] == "a title"


def test_a_rejected_result_is_refused_with_its_reasons_or_asked_for(drawing: Image) -> None:
    strict = {**LANCZOS, "quality": {"thresholds": {"ssim_y_min": 1.0}}}
    with pytest.raises(errors.ImageRejected, match=r"(?i)ssim.*accept_rejected=True"):
        imgpipe.upscale(drawing.pixels, **strict)
    assert imgpipe.upscale(drawing.pixels, accept_rejected=True, **strict).shape[0] == 2 * drawing.height


@pytest.mark.parametrize(
    ("picture", "error", "said"),
    [
        (b"no picture", errors.UnsupportedFormat, "the picture"),
        ("missing.png", errors.ConfigError, "missing.png"),
        (np.zeros((4, 4, 3), np.float32), errors.ConfigError, "uint8 or uint16"),
        (17, errors.ConfigError, "got int"),
    ],
)
def test_what_cannot_be_read_raises_its_own_error(picture: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        imgpipe.upscale(picture, **LANCZOS)


def test_save_refuses_an_ending_of_another_format(drawing: Image, tmp_path: Path) -> None:
    done = imgpipe.process(drawing.pixels, ["upscale"], format="WEBP", upscale={"model": "lanczos"})
    with pytest.raises(errors.ConfigError, match="WEBP"):
        done.save(tmp_path / "x.png")
    assert PIL.Image.open(done.save(tmp_path / "below" / "x.webp")).format == "WEBP"


def test_importing_imgpipe_loads_nothing_heavy() -> None:
    assert loaded_by("import imgpipe", ("numpy", "torch", "dagster", "cv2")) == []


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_the_examples_of_the_docs_run(example: str, drawing: Image, tmp_path: Path) -> None:
    (tmp_path / "drawing.png").write_bytes(encode(drawing))
    PIL.Image.fromarray(drawing.pixels).resize((drawing.width * 2, drawing.height * 2)).save("drawing@2x.png")
    names: dict[str, Any] = {}
    exec(compile(example, "docs/python.md", "exec"), names)  # noqa: S102 -- the docs' own
    if "defs" in names:
        keys = {key.to_user_string() for key in names["defs"].resolve_asset_graph().get_all_asset_keys()}
        assert {"art/matted_images", "art/quality_reports", "comics/upscaled_images"} <= keys
        assert not any("/" not in key for key in keys)
        jobs = {job.name for job in names["defs"].resolve_all_job_defs()}
        assert {"art_shard_job", "comics_shard_job", "comics_retry_failed_job"} <= jobs


def test_errors_name_what_was_given(tmp_path: Path) -> None:
    cut = io.BytesIO()
    PIL.Image.radial_gradient("L").save(cut, "JPEG")
    closed = PIL.Image.open(io.BytesIO(cut.getvalue()))
    closed.close()
    for picture, kind, said in (
        (PIL.Image.open(io.BytesIO(cut.getvalue()[:700])), errors.DecodeError, "truncated"),
        (closed, errors.ConfigError, "open it again"),
        (PIL.Image.new("RGB", (0, 5)), errors.ConfigError, "0x5: cannot write empty image"),
        (PIL.Image.new("F", (5, 5)), errors.ConfigError, "mode F: .*; scale it to 0..255"),
        (np.zeros((8, 8, 5), np.uint8), errors.ConfigError, r"got \(8, 8, 5\)$"),
        (np.zeros((8, 8, 3), bool), errors.ConfigError, "got bool; scale the values"),
    ):
        with pytest.raises(kind, match=said):
            imgpipe.upscale(picture, **LANCZOS)
    grey = np.zeros((8, 8), np.uint8)
    with pytest.raises(errors.ConfigError, match=r"upscale\.modle: unknown key; did you mean 'model'"):
        imgpipe.upscale(grey, modle="lanczos")
    with pytest.raises(errors.ConfigError, match="did you mean 'model'"):
        imgpipe.process(grey, upscale={"modle": "lanczos"})
    with pytest.raises(errors.ConfigError, match="expected one of png, webp, jpeg, tiff, jxl, got 'gif'"):
        imgpipe.process(grey, "upscale", format="gif", upscale=LANCZOS)


def test_names_of_formats_and_the_order_of_bytes_are_taken_as_they_come() -> None:
    ramp = np.add.outer(np.arange(24), np.arange(24)).astype(np.uint8) * 4
    assert imgpipe.process(ramp, "upscale", format="jpg", upscale=LANCZOS).data.startswith(b"\xff\xd8")
    webp = imgpipe.process(ramp, "upscale", files={"format": "webp"}, upscale=LANCZOS).data
    assert webp[8:12] == b"WEBP"
    deep = ramp.astype(np.uint16) * 257
    swapped = imgpipe.upscale(deep.astype(">u2"), **LANCZOS)
    assert np.array_equal(swapped, imgpipe.upscale(deep, **LANCZOS))
