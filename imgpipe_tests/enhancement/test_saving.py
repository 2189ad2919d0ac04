"""Files by the rules, read back by other means."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import PIL.Image
import pytest
import skimage.metrics
from PIL.JpegImagePlugin import JpegImageFile

from imgpipe.enhancement.enhance import enhance
from imgpipe.enhancement.saving import Saved, save
from imgpipe.errors import EncodeError
from imgpipe.images.decode import decode
from imgpipe.images.image import Image
from imgpipe.settings import EnhanceSettings, LimitSettings
from imgpipe_tests.enhancement.pictures import disc, noise, tagged, waves
from imgpipe_tests.images import sources

LIMITS = LimitSettings()
Priority = tuple[Any, ...]


def saved_as(image: Image, *priority: Any, **settings: Any) -> Saved:
    return save(image, EnhanceSettings(save_format_priority=priority, **settings))


@pytest.mark.parametrize(
    ("channels", "depth", "priority", "expected"),
    [
        (3, 8, ("PNG", "WEBP", "JPEG"), "PNG"),
        (3, 8, ("WEBP", "JPEG"), "WEBP"),
        (3, 8, ("JPEG", "PNG"), "JPEG"),
        (1, 8, ("JPEG", "PNG"), "JPEG"),
        (4, 8, ("JPEG", "PNG"), "PNG"),
        (2, 8, ("JPEG", "WEBP", "PNG"), "WEBP"),
        (4, 8, ("WEBP", "PNG"), "WEBP"),
        (3, 16, ("PNG", "WEBP", "JPEG"), "PNG"),
        (4, 16, ("WEBP", "JPEG", "PNG"), "PNG"),
        (1, 16, ("JPEG", "PNG"), "PNG"),
        (3, 16, ("JPEG", "WEBP"), "JPEG"),
        (4, 16, ("JPEG", "WEBP"), "WEBP"),
    ],
)
def test_the_first_format_that_holds_the_picture(
    channels: int, depth: int, priority: Priority, expected: str
) -> None:
    image = tagged(waves(20, 24, channels, depth), sources.grey_icc() if channels == 1 else None)
    saved = saved_as(image, *priority)
    assert saved.format == expected
    assert saved.extension == {"PNG": "png", "WEBP": "webp", "JPEG": "jpg"}[expected]
    assert saved.max_bytes_met is None
    assert len(saved.attempts) == 1
    assert saved.attempts[0].bytes == len(saved.data)
    assert [name for name, _ in saved.passed_over] == list(priority[: priority.index(expected)])
    back = decode(saved.data, name="x", limits=LIMITS)
    assert back.source_format == expected
    assert (back.icc, back.exif, back.xmp) == (image.icc, image.exif, image.xmp)
    assert back.has_alpha == image.has_alpha
    assert back.bit_depth == saved.image.bit_depth == (16 if expected == "PNG" and depth == 16 else 8)
    assert bool(saved.reasons) == (saved.image.bit_depth != depth)
    if saved.quality is None:
        shown = back.pixels if back.channels == channels else back.pixels[..., [0, 3]]
        hidden = saved.image.pixels[..., -1:] == 0 if image.has_alpha else np.zeros((1, 1, 1), bool)
        assert np.array_equal(shown, np.where(hidden, 0, saved.image.pixels)), "lossless"
    else:
        psnr = skimage.metrics.peak_signal_noise_ratio(saved.image.pixels, back.pixels[..., :channels])
        assert psnr > 30, f"{psnr:.1f} dB"


def test_jpeg_is_full_chroma_at_the_quality_asked_for() -> None:
    image = Image(waves(64, 64))
    saved = saved_as(image, "JPEG", quality=92)
    with PIL.Image.open(io.BytesIO(saved.data)) as opened:
        assert isinstance(opened, JpegImageFile)
        assert opened.layer[0][1:3] == (1, 1), "4:4:4: luma is sampled no finer than chroma"
        tables = opened.quantization
    reference = io.BytesIO()
    PIL.Image.fromarray(image.pixels).save(reference, "JPEG", quality=92)
    with PIL.Image.open(reference) as opened:
        assert isinstance(opened, JpegImageFile)
        assert tables == opened.quantization
    assert saved.quality == 92


def test_no_format_for_alpha_is_refused_and_says_what_to_do() -> None:
    with pytest.raises(EncodeError, match=r"\[JPEG\] has none .*add PNG"):
        saved_as(Image(waves(8, 8, 4)), "JPEG")
    with pytest.raises(EncodeError, match="add PNG"):
        saved_as(Image(waves(8, 8, 4)), "JPEG", max_bytes=1000)


def test_a_grey_profile_passes_webp_over() -> None:
    image = tagged(waves(16, 16, 1), icc=sources.grey_icc())
    saved = saved_as(image, "WEBP", "JPEG")
    assert saved.format == "JPEG"
    assert "grey" in dict(saved.passed_over)["WEBP"]
    assert decode(saved.data, name="x", limits=LIMITS).icc == image.icc


def palette_with_transparency() -> bytes:
    indices, colours, alphas = sources.palette_picture()
    opened = PIL.Image.fromarray(indices, "P")
    opened.putpalette(colours.tobytes())
    buffer = io.BytesIO()
    opened.save(buffer, "PNG", transparency=alphas.tobytes())
    return buffer.getvalue()


def webp_with_alpha() -> bytes:
    buffer = io.BytesIO()
    PIL.Image.fromarray(disc(40, 12, 200)).save(buffer, "WEBP", lossless=True, exact=True)
    return buffer.getvalue()


@pytest.mark.parametrize("priority", [("PNG", "WEBP", "JPEG"), ("JPEG", "WEBP", "PNG")])
@pytest.mark.parametrize("kind", ["RGBA", "LA", "palette", "WebP"])
def test_alpha_is_safe_from_file_to_file(kind: str, priority: Priority) -> None:
    files = {
        "RGBA": lambda: sources.make_png("RGBA", 8, None, 1)[0],
        "LA": lambda: sources.make_png("LA", 8, None, 1)[0],
        "palette": palette_with_transparency,
        "WebP": webp_with_alpha,
    }
    source = decode(files[kind](), name=kind, limits=LIMITS)
    settings = EnhanceSettings(min_width=1, min_height=1, scale_factor=1.0, save_format_priority=priority)
    saved = save(enhance(source, settings, LIMITS).image, settings, source=source)
    back = decode(saved.data, name="x", limits=LIMITS)
    assert source.alpha is not None
    assert np.array_equal(back.pixels[..., -1], source.alpha)
    shown = source.alpha > 0
    assert np.array_equal(back.pixels[shown][:, 0], source.pixels[shown][:, 0])
    assert not back.pixels[~shown].any(), "colour under alpha 0 is not carried on"


@pytest.mark.parametrize("name", ["wolf_gray.jpg", "00017_gray.png", "children-alpha.png"])
@pytest.mark.parametrize("target", [None, 60_000])
def test_real_files_keep_their_metadata(shared: Any, name: str, target: int | None) -> None:
    source = decode((shared / "data" / "formats" / name).read_bytes(), name=name, limits=LIMITS)
    settings = EnhanceSettings(min_width=300, min_height=300, max_bytes=target)
    saved = save(enhance(source, settings, LIMITS).image, settings, source=source)
    back = decode(saved.data, name="x", limits=LIMITS)
    assert (back.icc, back.xmp) == (source.icc, source.xmp)
    sizes = {256, 257, 0xA002, 0xA003}
    kept, had = (
        {tag: value for tag, value in sources.exif_fields(block).items() if tag not in sizes}
        for block in (back.exif, source.exif)
    )
    if source.exif is None and source.dpi is not None and saved.format == "WEBP":
        # WebP has no field for the resolution but EXIF's.
        had |= {282: pytest.approx(source.dpi[0]), 283: pytest.approx(source.dpi[1]), 296: 2}
    assert kept == had
    assert back.has_alpha == source.has_alpha
    assert (back.width, back.height) == (saved.image.width, saved.image.height)


def test_the_same_picture_gives_the_same_bytes() -> None:
    image = Image(noise(120, 160))
    one, again = (
        saved_as(image, "PNG", "WEBP", "JPEG", max_bytes=20_000, min_width=40, min_height=40)
        for _ in range(2)
    )
    assert (one.data, one.attempts) == (again.data, again.attempts)
