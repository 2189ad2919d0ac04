"""Every order of actions gives a chain that works, and a verdict that knows what was meant."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from imgpipe.records import Status
from imgpipe_tests.end_to_end.conftest import CLASSICAL, Workspace, write_drawing


@pytest.mark.parametrize(
    ("actions", "size", "mode", "reference"),
    [
        ("[rembg]", (128, 112), "RGBA", "raw_images"),
        ("[upscale]", (256, 224), "RGB", "raw_images"),
        ("[upscale, rembg]", (256, 224), "RGBA", "raw_images"),
        ("[enhance, rembg, upscale]", (384, 336), "RGBA", "matted_images"),
    ],
)
def test_orders(actions: str, size: tuple[int, int], mode: str, reference: str, workspace: Workspace) -> None:
    write_drawing(workspace.source, "a.png", seed=3)
    code, text = workspace.cli(
        "run",
        *CLASSICAL,
        "--set",
        f"actions={actions}",
        "--set",
        "enhance={min_width: 100, min_height: 100, scale_factor: 1.5}",
    )
    assert code == 0, text
    last = actions.strip("[]").split(", ")[-1]
    asset = {"rembg": "matted_images", "upscale": "upscaled_images"}[last]
    result = PillowImage.open(Path(workspace.output, workspace.rows(asset)["a.png"].output_key))
    assert (result.size, result.mode) == (size, mode)
    row = workspace.rows()["a.png"]
    assert row.status is Status.OK
    document = json.loads(Path(workspace.output, row.output_key).read_text())
    assert document["reference"] == reference
    assert document["dimensions_before"] == [128, 112]
    assert document["dimensions_after"] == list(size)
    assert (document["matte"] is not None) == ("rembg" in actions)
    if actions == "[rembg]":  # Matting alone leaves every solid pixel as it was.
        assert document["identical"] is True
        assert document["psnr"] is None
        cutout = np.asarray(result)
        source = np.asarray(PillowImage.open(Path(workspace.source, "a.png")))
        solid = cutout[..., 3] == 255
        assert np.array_equal(cutout[solid][:, :3], source[solid])
