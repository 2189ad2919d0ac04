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
from imgpipe_tests.end_to_end.memory_of import Kind, write_picture
from imgpipe_tests.matting.graphs import distance_from, write_graph
from imgpipe_tests.upscaling.conftest import tiny_compact

#: Half of what a machine of 16 GB has free beside its system, bytes.
BOUND_BYTES = 7.0e9
#: A side of the largest source (100 megapixels), and of one whose doubling is the largest output; a share of
#: them shows what a picture takes per pixel in less time; 1 takes a quarter of an hour.
SHARE = float(os.environ.get("IMGPIPE_TEST_MEMORY_SHARE", "0.3"))
SOURCE, HALF = int(10_000 * SHARE), int(8_192 * SHARE)
#: The largest that is matted with a profile other than sRGB.
MATTED_P3 = int(9_000 * SHARE)

#: Case -> action, role -> (side in px, kind of picture), settings.
CASES: dict[str, tuple[str, Mapping[str, tuple[int, Kind]], Mapping[str, Any]]] = {
    "read": ("read", {"source": (SOURCE, "alpha")}, {}),
    "matte": ("rembg", {"source": (SOURCE, "alpha")}, {"rembg.model": "classical"}),
    "matte-opaque": ("rembg", {"source": (SOURCE, "opaque")}, {"rembg.model": "classical"}),
    "matte-network": ("rembg", {"source": (SOURCE, "alpha")}, {"rembg.model": "tiny.onnx"}),
    "matte-p3": ("rembg", {"source": (MATTED_P3, "p3")}, {"rembg.model": "classical"}),
    "lanczos": (
        "upscale",
        {"source": (HALF, "alpha")},
        {"upscale.model": "lanczos", "upscale.scale": 2},
    ),
    "network": (
        "upscale",
        {"source": (SOURCE, "alpha")},
        {"upscale.model": "tiny.safetensors", "upscale.scale": 1},
    ),
    "network-p3": (
        "upscale",
        {"source": (SOURCE, "p3")},
        {"upscale.model": "tiny.safetensors", "upscale.scale": 1},
    ),
    "network-shrunk": (
        "upscale",
        {"source": (SOURCE, "alpha")},
        {"upscale.model": "tiny4.safetensors", "upscale.scale": 1},
    ),
    "enhance": ("enhance", {"source": (HALF, "alpha")}, {"enhance.scale_factor": 2}),
    "score": (
        "score",
        {
            "reference": (SOURCE, "alpha"),
            "result": (SOURCE, "alpha"),
            "matte_source": (SOURCE, "opaque"),
            "cutout": (SOURCE, "alpha"),
        },
        {},
    ),
    "score-opaque": (
        "score",
        {
            "reference": (SOURCE, "opaque"),
            "result": (SOURCE, "alpha"),
            "matte_source": (SOURCE, "opaque"),
            "cutout": (SOURCE, "alpha"),
        },
        {"actions": ["rembg"]},
    ),
    "score-p3": ("score", {"reference": (SOURCE, "p3"), "result": (SOURCE, "alpha")}, {}),
    "score-enlarged": ("score", {"reference": (HALF, "alpha"), "result": (2 * HALF, "alpha")}, {}),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Networks, and pictures as they are asked for: ``SIDE-KIND.png``."""
    place = tmp_path_factory.mktemp("memory")
    for name, scale in (("tiny", 1), ("tiny4", 4)):
        weights = {key: value.contiguous() for key, value in tiny_compact(scale).state_dict().items()}
        save_file(weights, place / f"{name}.safetensors")
    # All that is not white, which is what lies behind a picture with alpha.
    write_graph(place / "tiny.onnx", distance_from((1, 1, 1), 0.05), 1024)
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
    for role, (side, kind) in pictures.items():
        path = folder / f"{side}-{kind}.png"
        if not path.exists():
            write_picture(path, side, kind)
        files[role] = path.name
    options = {
        key: str(folder / value) if str(value).startswith("tiny") else value for key, value in options.items()
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
