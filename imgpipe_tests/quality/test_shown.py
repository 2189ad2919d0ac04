"""Pictures are compared as an sRGB screen shows them."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from imgpipe.images.colour import to_srgb
from imgpipe.images.decode import decode
from imgpipe.images.image import Image
from imgpipe.quality.diff import diff_png
from imgpipe.quality.score import score
from imgpipe.records import Status
from imgpipe.settings import LimitSettings, QualitySettings
from imgpipe_tests.images import profiles, sources
from imgpipe_tests.opencv_files import opencv_decode
from imgpipe_tests.quality.drawings import clip8, draw

SETTINGS = QualitySettings()
LOST = "the colour profile was lost, or exchanged without converting the values"
PICTURE = draw(3, 96, 72, 2)
P3 = profiles.rgb("Display P3", profiles.P3)
ADOBE = profiles.rgb("Adobe RGB (1998)", profiles.ADOBE, 2.2)
LINEAR = profiles.rgb("sRGB linear", gamma=1.0)


def _twice(pixels: np.ndarray) -> np.ndarray:
    height, width = pixels.shape[:2]
    return clip8(cv2.resize(pixels, (2 * width, 2 * height), interpolation=cv2.INTER_LANCZOS4))


@pytest.mark.parametrize("icc", [P3, ADOBE, LINEAR, profiles.table()])
@pytest.mark.parametrize("enlarge", [np.asarray, _twice])
def test_converted_is_right_and_lost_is_wrong(icc: bytes, enlarge: object) -> None:
    """The result in sRGB by Little CMS is kept; the same values without their profile are not, in words."""
    assert callable(enlarge)
    source = Image(PICTURE, icc=icc)
    converted = enlarge(profiles.by_pillow(PICTURE, icc))
    for profile in (None, sources.srgb()):
        report = score(source, Image(converted, icc=profile), settings=SETTINGS)
        assert report.status is Status.OK, report.reasons
        assert "profile_loss_255" not in report.metrics
        assert any("colour profiles differ (source: " in note for note in report.notes)
    report = score(source, Image(enlarge(PICTURE)), settings=SETTINGS)
    assert report.status is Status.REJECTED
    assert not report.identical
    assert report.reasons[0].startswith(LOST)
    assert report.metrics["profile_loss_255"] > 1


def test_a_profile_that_was_put_on_is_wrong_too() -> None:
    report = score(Image(PICTURE), Image(PICTURE, icc=P3), settings=SETTINGS)
    assert report.status is Status.REJECTED
    assert report.reasons[0].startswith(LOST)
    report = score(Image(PICTURE, icc=LINEAR), Image(PICTURE, icc=P3), settings=SETTINGS)
    assert report.reasons[0].startswith(LOST)


def test_profiles_that_do_the_same_are_identical() -> None:
    """sRGB under another name, and none; P3 as another file."""
    other = profiles.rgb("another name", profiles.P3)
    for one, two in ((None, profiles.rgb("Camera RGB 7")), (sources.srgb(), None), (P3, other)):
        report = score(Image(PICTURE, icc=one), Image(PICTURE, icc=two), settings=SETTINGS)
        assert report.identical
        assert report.status is Status.OK


def test_a_lost_profile_that_shows_nothing_is_no_fault() -> None:
    """Greys are the same in P3 and in sRGB."""
    grey = np.repeat(PICTURE[..., :1], 3, axis=2)
    report = score(Image(grey, icc=P3), Image(grey), settings=SETTINGS)
    assert report.status is Status.OK
    assert "profile_loss_255" not in report.metrics


@pytest.mark.parametrize("icc", [P3, LINEAR])
def test_scores_of_a_profile_are_those_of_its_srgb(icc: bytes) -> None:
    """PSNR by hand, on 8-bit sRGB as Little CMS makes it."""
    damaged = PICTURE.copy()
    damaged[20:40, 30:60] //= 2
    report = score(Image(PICTURE, icc=icc), Image(damaged, icc=icc), settings=SETTINGS)
    one, two = (profiles.by_pillow(pixels, icc).astype(float) for pixels in (PICTURE, damaged))
    assert report.metrics["psnr"] == pytest.approx(
        10 * np.log10(255**2 / ((one - two) ** 2).mean()), abs=0.05
    )
    shown = [Image(profiles.by_pillow(pixels, icc)) for pixels in (PICTURE, damaged)]
    heat = [
        opencv_decode(diff_png(*pair), cv2.IMREAD_COLOR).astype(int)
        for pair in ((Image(PICTURE, icc=icc), Image(damaged, icc=icc)), shown)
    ]
    assert np.abs(heat[0] - heat[1]).mean() < 1


def test_matte_and_grey_have_profiles_too() -> None:
    """The border's edges of a source in linear light are found as in sRGB, grey is compared as shown."""
    grey = PICTURE[..., :1]
    dark = profiles.grey(1.0)
    assert score(Image(grey, icc=dark), Image(grey, icc=dark), settings=SETTINGS).identical
    report = score(Image(grey, icc=dark), to_srgb(Image(grey, icc=dark)), settings=SETTINGS)
    assert report.identical
    report = score(Image(grey, icc=dark), Image(grey), settings=SETTINGS)
    assert report.reasons[0].startswith(LOST)


def test_grey_with_a_profile_for_rgb_is_compared_as_shown() -> None:
    """With its sRGB form, by Little CMS, and with a result that lost the profile."""
    source = Image(PICTURE[..., :1], icc=LINEAR)
    shown = Image(profiles.by_pillow(np.repeat(PICTURE[..., :1], 3, axis=2), LINEAR)[..., :1].copy())
    report = score(source, shown, settings=SETTINGS)
    assert report.status is Status.OK, report.reasons
    assert report.metrics.get("psnr", 99) > 50
    assert score(source, Image(PICTURE[..., :1]), settings=SETTINGS).reasons[0].startswith(LOST)


def test_unusable_profiles_are_said() -> None:
    report = score(Image(PICTURE, icc=profiles.grey(1.0)), Image(PICTURE), settings=SETTINGS)
    assert report.identical
    assert any(re.match("source: ICC profile of .* it is for GRAY, the", note) for note in report.notes)


def test_the_handed_pictures(shared: Path) -> None:
    folder = shared / "cases" / "images"
    names = ["score-and-profiles/linear.png", "score-and-profiles/linear_profile_lost.png"]
    names += ("network-ignores-profile/linear.png", "network-ignores-profile/srgb.png")
    linear, lost, same, srgb = (
        decode((folder / name).read_bytes(), name=name, limits=LimitSettings()) for name in names
    )
    report = score(linear, lost, settings=SETTINGS)
    assert report.status is Status.REJECTED
    assert report.reasons[0].startswith(LOST)
    report = score(same, srgb, settings=SETTINGS)
    assert report.status is Status.OK
    assert report.metrics["psnr"] > 80
