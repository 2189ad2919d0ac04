"""Profiles made from primaries and curves: Little CMS converts with them as the standards' formulas say."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import PIL.Image
import pytest
from PIL import ImageCms

from imgpipe.errors import ImageError
from imgpipe.images.colour_description import (
    SRGB_CURVE,
    SRGB_PRIMARIES,
    Primaries,
    from_cicp,
    profile,
)
from imgpipe.images.formats import png_colour
from imgpipe.images.metadata import icc_space

Curve = Callable[[float], float]

_P3 = Primaries((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))


def _srgb_encoded(linear: float) -> float:
    linear = min(max(linear, 0.0), 1.0)
    return 255 * (12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055)


def _to_srgb(colour: tuple[int, ...], profile_bytes: bytes) -> list[int]:
    """Little CMS, relative colorimetric."""
    mode = "L" if len(colour) == 1 else "RGB"
    picture = PIL.Image.new(mode, (1, 1), colour if mode == "RGB" else colour[0])
    converted = ImageCms.profileToProfile(
        picture,
        ImageCms.ImageCmsProfile(io.BytesIO(profile_bytes)),
        ImageCms.createProfile("sRGB"),
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        outputMode="RGB",
    )
    assert converted is not None
    return [int(value) for value in np.asarray(converted)[0, 0]]


def _gamma(power: float) -> Curve:
    return lambda v: float(v**power)


def _bt709(v: float) -> float:
    return v / 4.5 if v < 0.0812429 else ((v + 0.0992968) / 1.0992968) ** (1 / 0.45)


def _pq(v: float) -> float:
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 4096 * 128, 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
    return (max(v ** (1 / m2) - c1, 0) / (c2 - c3 * v ** (1 / m2))) ** (1 / m1)


def _hlg(v: float) -> float:
    return v * v / 3 if v <= 0.5 else (np.exp((v - 0.55991073) / 0.17883277) + 0.28466892) / 12


@pytest.mark.parametrize("stored", [16, 131, 200, 247])
@pytest.mark.parametrize(
    ("transfer", "light"),
    [
        *((code, _bt709) for code in (1, 6, 11, 12, 14, 15)),
        (4, _gamma(2.2)),
        (5, _gamma(2.8)),
        (8, _gamma(1.0)),
        (9, lambda v: 10 ** (2 * (v - 1))),
        (16, _pq),
        (17, _gamma(2.6)),
        (18, _hlg),
    ],
)
@pytest.mark.parametrize("grey", [False, True])
def test_the_curve_of_every_cicp_code_is_the_standards(
    transfer: int, light: Curve, stored: int, grey: bool
) -> None:
    made, note = from_cicp(1, transfer, grey=grey)
    assert made is not None
    assert note
    expected = _srgb_encoded(float(light(stored / 255)))
    got = _to_srgb((stored,) if grey else (stored,) * 3, made)
    assert np.abs(np.array(got) - expected).max() <= 1.0, f"{got} instead of {expected:.1f}"


def test_primaries_move_colours_as_the_matrices_say() -> None:
    made, note = from_cicp(12, 13)
    assert made is not None
    assert "Display P3" in note
    # (18, 230, 39) of Display P3 is (0, 234, 0) in sRGB, by the matrices of both and a cut at 0.
    assert np.abs(np.array(_to_srgb((18, 230, 39), made)) - (0, 234, 0)).max() <= 1
    # Greys stay, whatever the primaries and the white point.
    for code in (1, 4, 5, 6, 7, 8, 9, 11, 12, 22):
        other, _ = from_cicp(code, 4)
        same, _ = from_cicp(1, 4)
        assert other is not None
        assert same is not None
        difference = np.array(_to_srgb((90, 90, 90), other)) - _to_srgb((90, 90, 90), same)
        assert np.abs(difference).max() <= 1, code


def test_the_same_numbers_as_srgb_are_srgb_to_little_cms() -> None:
    made = profile(SRGB_PRIMARIES, SRGB_CURVE)
    for colour in ((255, 0, 0), (3, 90, 250), (128, 128, 128)):
        assert np.abs(np.array(_to_srgb(colour, made)) - colour).max() <= 1
    assert icc_space(made) == "RGB"


def test_own_primaries_and_gamma_as_png_gives_them() -> None:
    # gAMA 1.0: the stored 131 is half of the light and shown as 190 or so.
    made = profile(SRGB_PRIMARIES, (1.0,), grey=True)
    assert abs(_to_srgb((131,), made)[0] - _srgb_encoded(131 / 255)) <= 1
    adobe = profile(Primaries((0.64, 0.33), (0.21, 0.71), (0.15, 0.06)), (563 / 256,))
    # Adobe RGB (1998), by its published matrices: (100, 150, 200) is (66, 151, 203) in sRGB.
    assert np.abs(np.array(_to_srgb((100, 150, 200), adobe)) - (66, 151, 203)).max() <= 1


@pytest.mark.parametrize("code", [(1, 13), (2, 2), (2, 13), (1, 2)])
def test_what_means_srgb_makes_no_profile_and_no_note(code: tuple[int, int]) -> None:
    assert from_cicp(*code) == (None, "")


def test_unknown_numbers_are_noted() -> None:
    made, note = from_cicp(77, 13)
    assert made is None
    assert "77" in note


def test_the_cicp_numbers_stand_in_the_profile_and_its_bytes_never_change() -> None:
    first, _ = from_cicp(9, 16)
    assert first == from_cicp(9, 16)[0]
    assert first is not None
    at = first.index(b"cicp\0\0\0\0")
    assert first[at + 8 : at + 12] == bytes((9, 16, 0, 1))


@pytest.mark.parametrize(
    "primaries",
    [
        Primaries((0.3, 0.3), (0.3, 0.3), (0.1, 0.1)),
        Primaries((0.64, 0.33), (0.3, 0.6), (0.15, 0.06), (0.3127, 0.0)),
        Primaries((0.64, 0.33), (0.3, 0.6), (0.15, 0.06), (0.9, 0.05)),
        Primaries((0.0, 0.0), (0.0, 0.0), (0.0, 0.0), (0.0, 0.0)),
    ],
)
def test_numbers_that_are_no_colour_space_are_refused(primaries: Primaries) -> None:
    with pytest.raises(ImageError, match="expected"):
        profile(primaries, (2.2,))


@pytest.mark.parametrize("gamma", [0.0, -1.0, 1e6])
def test_a_curve_that_is_none_is_refused(gamma: float) -> None:
    with pytest.raises(ImageError, match="gamma"):
        profile(_P3, (gamma,))


def test_an_unknown_cicp_beside_a_profile_says_that_the_profile_counts() -> None:
    own = from_cicp(12, 13)[0]
    icc, notes = png_colour.profile_of({b"cICP": bytes((99, 99, 0, 1))}, own, grey=False)
    assert icc == own
    assert notes == ["colour description not carried: CICP 99/99 is not known; the PNG's ICC profile counts"]
