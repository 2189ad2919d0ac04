"""A profile is what it does, not what it is called; what is read of it is what Little CMS reads."""

from __future__ import annotations

import random
import struct
import time

import numpy as np
import pytest

from imgpipe.images.colour_description import SRGB_PRIMARIES, profile
from imgpipe.images.icc import curves_and_matrix, name_of
from imgpipe.images.lcms import linear_srgb
from imgpipe.images.rgb_space import space_of
from imgpipe.images.srgb import srgb_encoded, srgb_profile
from imgpipe_tests.images import profiles, sources


@pytest.mark.parametrize(
    ("icc", "expected"),
    [
        (None, True),
        (srgb_profile(), True),
        (sources.srgb(), True),
        (profiles.rgb("Camera RGB 7"), True),
        (profiles.grey(None), True),
        (profiles.rgb("sRGB-elle-V2-g10.icc", gamma=1.0), False),
        (profiles.rgb("sRGB IEC61966-2.1", profiles.P3), False),
        (profiles.rgb("sRGB, gamma 2.2", gamma=2.2), False),
        (profiles.rgb("Adobe RGB (1998)", profiles.ADOBE, 2.2), False),
        (profiles.table(), False),
        (profiles.grey(1.0), False),
    ],
)
def test_a_profile_is_srgb_by_what_it_does(icc: bytes | None, expected: bool) -> None:
    assert (space_of(icc) is None) is expected


def _para(kind: int, *numbers: float) -> bytes:
    return (
        b"para\0\0\0\0"
        + struct.pack(">HH", kind, 0)
        + struct.pack(f">{len(numbers)}i", *[round(number * 65536) for number in numbers])
    )


def _curv(*levels: int) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(f">I{len(levels)}H", len(levels), *levels)


CURVES = {
    "identity": _curv(),
    "gamma of 8 bits": _curv(563),
    "1024 steps": _curv(*np.round((np.arange(1024) / 1023) ** 1.8 * 65535).astype(int)),
    "two steps to a half": _curv(0, 32768),
    "gamma": _para(0, 2.6),
    "CIE 122": _para(1, 2.4, 0.9, 0.1),
    "CIE 122 with a foot": _para(1, 2.0, 1.25, -0.25),
    "IEC 61966-3": _para(2, 2.0, 1.1, -0.1, 0.0),
    "sRGB": _para(3, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045),
    "with an offset": _para(4, 2.4, 0.9, 0.05, 0.08, 0.04, 0.02, 0.0),
}
LEVELS = np.arange(65536)


@pytest.mark.parametrize("curve", CURVES.values(), ids=CURVES)
def test_curves_of_every_kind_are_little_cms_own(curve: bytes) -> None:
    """As a screen shows them, in colours and in grey; what is not read as a curve goes to Little CMS."""
    for icc in (profiles.rgb("a curve", profiles.P3, curve), profiles.grey(curve)):
        channels = 1 if icc[16:20] == b"GRAY" else 3
        values = np.random.default_rng(1).random((4096, channels)).astype(np.float32)
        read = curves_and_matrix(icc)
        if read is None:
            assert curve in (CURVES["CIE 122"], CURVES["with an offset"])  # above 0 at black
            continue
        levels = np.floor(values * 65535 + 0.5).astype(int)
        light = np.stack([read[0][c][levels[:, c]] for c in range(channels)], axis=1) @ read[1].T
        shown, expected = (
            srgb_encoded(np.clip(one, 0, 1).astype(np.float32)) for one in (light, linear_srgb(icc, values))
        )
        assert np.abs(shown - expected).max() * 255 < 0.25


def test_what_is_not_curves_and_a_matrix_is_not_read() -> None:
    """Tables count above curves, also for Little CMS (ICC.1, 9.2)."""
    falling = profiles.grey(_curv(0, 40000, 20000, 65535))
    both = profiles.table(beside_linear=True)
    for icc in (profiles.table(), both, falling, profiles.without_tags(), b"", profiles.rgb("cut")[:200]):
        assert curves_and_matrix(icc) is None


def test_names() -> None:
    assert name_of(profiles.rgb("Display P3")) == "Display P3"
    assert name_of(profile(SRGB_PRIMARIES, (1.8,))) == "BT.709, gamma 1.8"
    assert name_of(srgb_profile()) == "sRGB built-in"
    assert name_of(profiles.rgb("a\x1b[31mb\n" + "c" * 500)) == "a[31mb" + "c" * 92
    assert name_of(profiles.without_tags()) == name_of(b"") == "unnamed"


@pytest.mark.parametrize("seed", range(4))
def test_changed_profiles_are_read_or_refused(seed: int) -> None:
    """No other error, nothing that is not finite, and no time: the profile is a stranger's."""
    choose = random.Random(seed)
    good = [profiles.rgb("P3", profiles.P3), profiles.grey(2.2), srgb_profile()]
    good.append(profiles.grey(_para(4, *[1.0] * 7)))
    edges = [b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", bytes(4), b"\0"]
    slowest = 0.0
    for _ in range(150):
        data = bytearray(choose.choice(good))
        for _ in range(choose.randint(1, 6)):
            at = choose.randrange(len(data))
            data[at : at + 4] = choose.choice(edges)
        begin = time.perf_counter()
        read = curves_and_matrix(bytes(data))
        name_of(bytes(data))
        slowest = max(slowest, time.perf_counter() - begin)
        if read is not None:
            assert np.isfinite(read[0]).all()
            assert (read[0][:, 0] == 0).all()
            assert (read[0][:, -1] == 1).all()
    assert slowest < 1
