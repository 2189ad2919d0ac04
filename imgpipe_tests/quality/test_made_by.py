"""The profile of two files: what made the result, from what is given, from its XMP, or guessed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from imgpipe.images.decode import decode
from imgpipe.images.image import Image
from imgpipe.images.metadata import with_upscaler
from imgpipe.pixels.resize import Kernel, resize
from imgpipe.quality.made_by import edge_steepness, profile_of_files
from imgpipe.settings import LimitSettings, QualitySettings
from imgpipe_tests.quality.defects import plant
from imgpipe_tests.quality.drawings import area, draw, enlarge, image

LARGE = draw(5, 96, 72, 4)
SOURCE = area(LARGE, 4)
AUTO = QualitySettings()


@pytest.mark.parametrize(
    ("settings", "model", "xmp", "profile", "why"),
    [
        (AUTO, "lanczos", "realesr-animevideov3", "classical", "what was given names its maker, lanczos"),
        (AUTO, "", "realesr-animevideov3", "realesrgan", "its XMP names its maker, realesr-animevideov3"),
        (AUTO, "", "bicubic", "classical", "its XMP names its maker, bicubic"),
        (QualitySettings(profile="classical"), "", "realesr-animevideov3", "classical", "as configured"),
        (AUTO, "", "", "classical", "guessed: nothing names its maker"),
    ],
)
def test_what_is_known_decides_in_this_order(
    settings: QualitySettings, model: str, xmp: str, profile: str, why: str
) -> None:
    result = Image(enlarge(SOURCE, 4), xmp=with_upscaler(None, xmp) if xmp else None)
    found = profile_of_files(Image(SOURCE), result, settings, model)
    assert found[0] == profile
    assert found[1].startswith(why)


def test_edges_as_a_network_draws_them_are_guessed_to_be_one_s() -> None:
    profile, why = profile_of_files(Image(SOURCE), Image(LARGE), AUTO)
    assert profile == "realesrgan"
    assert why.startswith("guessed: edges")


@pytest.mark.parametrize("kind", ["black_tile", "jpeg", "channel_swap", "shift", "gamma", "halo", "blur"])
def test_damage_does_not_make_a_classical_enlargement_a_network_s(kind: str) -> None:
    damaged = plant(kind, enlarge(SOURCE, 4), 1, seed=1)
    assert damaged is not None
    assert edge_steepness(Image(SOURCE), Image(damaged)) < 1.2


@pytest.mark.shared
@pytest.mark.parametrize("kernel", ["lanczos", "bicubic"])
@pytest.mark.parametrize("name", ["sr/anime-041.png", "anime/frame-084.png", "real/comic.png"])
def test_real_pictures_enlarged_by_a_kernel_are_no_network_s(name: str, kernel: Kernel, shared: Path) -> None:
    whole = decode((shared / "data" / name).read_bytes(), name=name, limits=LimitSettings())
    source = image(np.ascontiguousarray(whole.pixels[:160, :200]))
    assert edge_steepness(source, resize(source, 400, 320, kernel)) < 1.1
