"""Real files in hard formats through every stage: depth, alpha, grey, profiles and metadata come out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image as PillowImage

from imgpipe.images.metadata import upscaler_of
from imgpipe.records import Status
from imgpipe_tests.end_to_end.conftest import Workspace
from imgpipe_tests.opencv_files import opencv_decode

pytestmark = pytest.mark.shared

#: file -> (channels, bits) of source and results; a matte adds one channel.
KINDS = {
    "00017_gray.png": (1, 8),
    "children-alpha.png": (4, 8),
    "tree_alpha_16bit.png": (4, 16),
    "wolf_gray.jpg": (1, 8),
}


def described(path: Path) -> dict[str, Any]:
    """Channels and depth as OpenCV sees them, metadata as Pillow does."""
    pixels = opencv_decode(path.read_bytes(), cv2.IMREAD_UNCHANGED)
    with PillowImage.open(path) as opened:
        exif = dict(opened.getexif())
        xmp = opened.info.get("xmp") or opened.info.get("XML:com.adobe.xmp")
        return {
            "channels": 1 if pixels.ndim == 2 else pixels.shape[2],
            "bits": pixels.dtype.itemsize * 8,
            "icc": opened.info.get("icc_profile"),
            # Orientation and size are of the file, not of the picture's story.
            "exif": {tag: value for tag, value in exif.items() if tag not in (0x0112, 256, 257)},
            "xmp": xmp.encode() if isinstance(xmp, str) else xmp,
            "size": opened.size,
        }


def test_formats_survive_enhancement_and_upscaling(workspace: Workspace, shared: Path) -> None:
    folder = shared / "data" / "formats"
    for name in KINDS:
        Path(workspace.source, name).write_bytes((folder / name).read_bytes())
    _, text = workspace.cli(
        "run",
        "--set",
        "actions=[enhance, upscale]",
        "--set",
        "enhance={min_width: 1, min_height: 1, scale_factor: 1.0}",
        "--set",
        "upscale.model=lanczos",
        "--set",
        "upscale.scale=2",
    )
    quality = workspace.rows()
    assert set(quality) == set(KINDS), text
    for name, (channels, bits) in KINDS.items():
        before = described(folder / name)
        for asset, factor in (("enhanced_images", 1), ("upscaled_images", 2)):
            row = workspace.rows(asset)[name]
            after = described(Path(workspace.output, row.output_key))
            assert (after["channels"], after["bits"]) == (channels, bits), (name, asset)
            assert (row.bit_depth, row.status) == (bits, Status.OK), (name, asset)
            assert after["size"] == tuple(side * factor for side in before["size"]), (name, asset)
            if asset == "upscaled_images":
                assert upscaler_of(after.pop("xmp")) == "lanczos", name
            for block in after.keys() & {"icc", "exif", "xmp"}:
                assert after[block] == before[block], (name, asset, block)
        assert quality[name].status is Status.OK, (name, quality[name].reasons)


def test_sixteen_bits_and_alpha_survive_matting(workspace: Workspace, shared: Path) -> None:
    name = "tree_alpha_16bit.png"
    source = shared / "data" / "formats" / name
    Path(workspace.source, name).write_bytes(source.read_bytes())
    workspace.cli(
        "run",
        "--set",
        "actions=[rembg]",
        "--set",
        "rembg.model=classical",
        "--set",
        "rembg.alpha_matting=false",
    )
    row = workspace.rows("matted_images")[name]
    before = opencv_decode(source.read_bytes(), cv2.IMREAD_UNCHANGED)
    after = opencv_decode(Path(workspace.output, row.output_key).read_bytes(), cv2.IMREAD_UNCHANGED)
    assert after.dtype == np.uint16
    assert after.shape == before.shape
    assert (after[..., 3] <= before[..., 3]).all()  # What the source left out never comes back.
    both = (after[..., 3] == 65535) & (before[..., 3] == 65535)
    assert both.any()
    assert np.array_equal(after[both], before[both])
    assert described(Path(workspace.output, row.output_key))["icc"] == described(source)["icc"]
