"""A profile is what it does, not what it is called."""

from __future__ import annotations

import pytest

from imgpipe.images.icc import is_srgb, srgb_profile
from imgpipe_tests.images import profiles, sources


@pytest.mark.parametrize(
    ("icc", "expected"),
    [
        (None, True),
        (srgb_profile(), True),
        (sources.srgb(), True),
        (profiles.rgb("Camera RGB 7"), True),
        (profiles.grey(None), True),
        (b"no profile at all", False),  # as before: it is for no kind of picture
        (sources.cmyk_icc(), False),
        (profiles.rgb("sRGB-elle-V2-g10.icc", gamma=1.0), False),
        (profiles.rgb("sRGB IEC61966-2.1", profiles.P3), False),
        (profiles.rgb("sRGB, gamma 2.2", gamma=2.2), False),
        (profiles.rgb("Adobe RGB (1998)", profiles.ADOBE, 2.2), False),
        (profiles.table(), False),
        (profiles.grey(1.0), False),
    ],
)
def test_a_profile_is_srgb_by_what_it_does(icc: bytes | None, expected: bool) -> None:
    assert is_srgb(icc) is expected


def test_a_profile_that_little_cms_refuses_means_srgb() -> None:
    """A header and no tags: every viewer shows such a picture as sRGB."""
    assert is_srgb(profiles.without_tags())
