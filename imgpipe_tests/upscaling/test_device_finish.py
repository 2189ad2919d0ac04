"""What a device finishes is what the host would have made of the same levels."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from imgpipe.images.image import Image
from imgpipe.pixels.resize import cv2_resize
from imgpipe.upscaling.device_finish import finished
from imgpipe.upscaling.finish import Finisher
from imgpipe.upscaling.network import Finishing
from imgpipe.upscaling.network_input import ColourInput

SCALE = 4


def _frame(shared: Path, name: str, width: int, channels: int, dtype: Any) -> Image:
    frame = cv2.imread(str(shared / "data" / "sr" / name))
    assert frame is not None
    pixels = frame[40:200, 60 : 60 + width, ::-1].astype(dtype) * np.array(np.iinfo(dtype).max // 255, dtype)
    if channels == 4:
        y, x = np.mgrid[:160, :width]
        alpha = np.clip((70 - np.hypot(x - width / 2, y - 80)) / 8, 0, 1) * np.iinfo(dtype).max
        pixels = np.dstack([pixels, alpha.astype(dtype)])
    return Image(np.ascontiguousarray(pixels))


def _enlarged(source: Any) -> tuple[Any, Any]:
    """Levels and means of something like a network, which darkens one side and yellows all."""
    height, width, _ = source.shape
    wide = cv2_resize(source[:, :], (width * SCALE, height * SCALE), cv2.INTER_CUBIC)
    wide = np.clip(wide - np.linspace(0, 0.05, width * SCALE)[:, None] - (0.0, 0.0, 0.02), 0, 1)
    levels = (wide * 65535 + 0.5).astype(np.uint16)
    return levels, cv2_resize(wide.astype(np.float32), (width, height), cv2.INTER_AREA)


@pytest.mark.parametrize(
    ("name", "width", "channels", "dtype", "color_match"),
    [
        ("anime-041.png", 240, 3, np.uint8, True),
        ("anime-186.png", 241, 3, np.uint8, True),
        ("anime-277.png", 240, 4, np.uint8, True),
        ("anime-041.png", 240, 3, np.uint16, True),
        ("anime-041.png", 14, 3, np.uint8, True),  # narrower than the blur reaches
        ("anime-041.png", 240, 3, np.uint8, False),
    ],
)
def test_a_device_gives_the_hosts_levels(
    shared: Path, name: str, width: int, channels: int, dtype: Any, color_match: bool
) -> None:
    source = ColourInput(_frame(shared, name, width, channels, dtype))
    levels, mean = _enlarged(source)
    host = np.empty(levels.shape, dtype)
    with Finisher(source, SCALE, host, color_match=color_match) as finisher:
        finisher.take(0, levels, mean)
        finisher.done()
        finishing = finisher.finishing
    assert finishing is not None
    alpha = source.alpha(slice(0, 160))
    device, colours = finished(
        torch.from_numpy(levels),
        torch.from_numpy(mean),
        torch.from_numpy(source[:, :]),
        None if alpha is None else torch.from_numpy(alpha),
        finishing,
    )
    *shift, correction = (colours * 255).tolist()
    assert device.numpy().dtype == dtype
    difference = np.abs(device.numpy().astype(int) - host)
    share = float((difference > 0).mean())
    logging.info("%s, %d px, %d channels, %s: %.1e differ by 1", name, width, channels, host.dtype, share)
    assert difference.max() <= 1, f"max {difference.max()}"
    assert share < 1e-3, f"{share:.2e} of the values differ"
    assert (max(shift), correction) == pytest.approx((finisher.shift_255, finisher.correction_255), abs=1e-3)
    assert (correction > 1) is color_match, "something is corrected"


def test_other_sizes_and_one_channel_are_the_hosts() -> None:
    source = ColourInput(Image(np.zeros((20, 30, 3), np.uint8)))
    for shape, finishing in (
        ((80, 120, 3), Finishing(8, True)),
        ((40, 60, 3), None),
        ((80, 121, 3), None),
        ((80, 120, 1), None),
    ):
        with Finisher(source, SCALE, np.empty(shape, np.uint8), color_match=True) as finisher:
            assert finisher.finishing == finishing, shape
