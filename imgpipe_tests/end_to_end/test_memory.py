"""Peak memory of the largest pictures that the default limits admit, through every action.

The engine admits an image by what its stage says that it needs. What it really takes must stay below that,
and that below half of what a machine of 16 GB has free, which is the default of ``limits.max_memory_bytes``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file

from imgpipe.config import Settings
from imgpipe_tests.end_to_end.memory_of import write_picture
from imgpipe_tests.upscaling.conftest import tiny_compact

#: Half of what a machine of 16 GB has free beside its system, bytes.
BOUND_BYTES = 7.0e9
#: A side of the largest source (100 megapixels), and of one whose doubling is the largest output; a share of
#: them shows what a picture takes per pixel in less time.
SHARE = float(os.environ.get("IMGPIPE_TEST_MEMORY_SHARE", "1"))
SOURCE, HALF = int(10_000 * SHARE), int(8_192 * SHARE)
#: The largest of 16 bits with alpha that a network and enhancement take within the bound.
NETWORK, ENHANCED = int(6_000 * SHARE), int(4_600 * SHARE)

CASES: dict[str, tuple[str, Mapping[str, tuple[int, bool]], Mapping[str, Any]]] = {
    "read": ("read", {"source": (SOURCE, False)}, {}),
    "matte": ("rembg", {"source": (SOURCE, False)}, {"rembg.model": "classical"}),
    "matte-opaque": ("rembg", {"source": (SOURCE, True)}, {"rembg.model": "classical"}),
    "lanczos": (
        "upscale",
        {"source": (HALF, False)},
        {"upscale.model": "lanczos", "upscale.scale": 2},
    ),
    "network": (
        "upscale",
        {"source": (NETWORK, False)},
        {"upscale.model": "tiny.safetensors", "upscale.scale": 1},
    ),
    "enhance": ("enhance", {"source": (ENHANCED, False)}, {"enhance.scale_factor": 2}),
    "score": (
        "score",
        {
            "reference": (SOURCE, False),
            "result": (SOURCE, False),
            "matte_source": (SOURCE, True),
            "cutout": (SOURCE, False),
        },
        {},
    ),
    "score-enlarged": ("score", {"reference": (HALF, False), "result": (2 * HALF, False)}, {}),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Networks, and pictures as they are asked for: ``SIDE.png`` with alpha and ``SIDE-opaque.png``."""
    place = tmp_path_factory.mktemp("memory")
    weights = {key: value.contiguous() for key, value in tiny_compact(scale=1).state_dict().items()}
    save_file(weights, place / "tiny.safetensors")
    return place


def test_the_bound_is_that_of_the_default_limits() -> None:
    limits = Settings().limits
    assert limits.max_memory_bytes == "auto"
    assert limits.max_pixels <= 10_000**2
    assert limits.max_output_pixels <= (2 * 8_192) ** 2


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("case", CASES)
def test_the_largest_pictures_stay_within_what_was_admitted(case: str, folder: Path) -> None:
    action, pictures, options = CASES[case]
    files = {}
    for role, (side, opaque) in pictures.items():
        path = folder / f"{side}{'-opaque' * opaque}.png"
        if not path.exists():
            write_picture(path, side, opaque=opaque)
        files[role] = path.name
    options = {
        key: str(folder / value) if str(value).startswith("tiny.") else value
        for key, value in options.items()
    }
    command = [sys.executable, "-m", "imgpipe_tests.end_to_end.memory_of", str(folder), action]
    said = subprocess.run(
        [*command, json.dumps(files), json.dumps({"device": "cpu", **options})],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    found = json.loads(said.stdout.splitlines()[-1])
    sys.stderr.write(
        f"{case}: peak {found['peak'] / 1e6:.0f} needed {found['needed'] / 1e6:.0f} MB {found['size']}\n"
    )
    assert not found["error"], found
    assert found["peak"] < found["needed"], found
    assert found["needed"] < BOUND_BYTES, found
