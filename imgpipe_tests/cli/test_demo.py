"""The demo's table on a narrow terminal."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

from imgpipe.cli.console import SafeConsole
from imgpipe.cli.demo import images_table
from imgpipe.records import ImageRow, Status
from imgpipe.stages.catalogue import MATTED, QUALITY, RAW, UPSCALED
from imgpipe.storage.memory import MemoryStore
from imgpipe.storage.opening import Stores
from imgpipe_tests.cli.kept_output import assert_as_kept


def test_the_names_of_the_drawings_stand_in_one_line_at_80_columns(tmp_path: Path) -> None:
    names = ("04_sticker_transparent.png", "05_dusk_16bit.png", "03_night_city.png")
    rows: dict[str, dict[str, ImageRow]] = {RAW: {}, MATTED: {}, UPSCALED: {}, QUALITY: {}}
    for name, depth, status in zip(names, (8, 16, 8), (Status.OK, Status.OK, Status.REJECTED), strict=True):
        row = ImageRow(name, name, "", status, width=384, height=448, bit_depth=depth)
        rows[RAW][name] = replace(row, status=Status.OK)
        rows[UPSCALED][name] = replace(row, width=1536, height=1792)
        rows[QUALITY][name] = replace(row, metrics={"psnr_y": 38.42, "ssim_y": 0.9951})
    stream, store = io.StringIO(), MemoryStore()
    SafeConsole(file=stream, width=80).print(images_table(rows, tmp_path, Stores(store, store)))
    assert_as_kept("demo", stream.getvalue(), {})
