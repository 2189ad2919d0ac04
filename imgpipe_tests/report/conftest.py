"""Data sets that several tests of the report use."""

from __future__ import annotations

import numpy as np
import pytest

from imgpipe_tests.report.datasets import DatasetBuilder, drawing, good_scores


@pytest.fixture
def builder() -> DatasetBuilder:
    """Two shards: 7 good images (two look alike), one rejected, one warned, one error, one skipped."""
    rng = np.random.default_rng(7)
    built = DatasetBuilder()
    for index in range(6):
        shard = f"{index // 3:05d}"
        built.add_image(f"set/girl {index}.png", good_scores(rng), shard=shard, picture=drawing(index))
    brighter = np.clip(drawing(2).astype(int) + 5, 0, 255).astype(np.uint8)
    built.add_image("set/girl 2 again.png", good_scores(rng), shard="00001", picture=brighter)
    bad = good_scores(rng) | {"psnr_y": 27.5, "color_shift_255": 3.2}
    built.add_image("set/shifted.png", bad, shard="00001", picture=drawing(20))
    warned = good_scores(rng) | {"matte_components": 9.0}
    built.add_image("set/pieces.png", warned, shard="00001", picture=drawing(21))
    built.add_error("set/page.png", "00001")
    built.add_skipped("set/gone.png", "00001")
    return built
