"""Runs one stage over one large picture through the engine and prints its peak of memory, as JSON.

``python -m imgpipe_tests.end_to_end.memory_of FOLDER ACTION FILES SETTINGS``: files by role and settings,
both as JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from imgpipe.config import load_settings
from imgpipe.engines import admission, local
from imgpipe.engines.work import ObjectRef, WorkItem
from imgpipe.images.encode import encode
from imgpipe.images.image import Image
from imgpipe.inference.admitted_memory import Grow
from imgpipe.records import ImageRow, Status
from imgpipe.stages.catalogue import CATALOGUE, RAW
from imgpipe.stages.protocol import LoadableStage
from imgpipe.storage.local import LocalStore
from imgpipe_tests.images.sources import display_p3

#: Of 16 bits: RGB; RGBA; RGBA in Display P3.
Kind = Literal["opaque", "alpha", "p3"]


def write_picture(path: Path, side: int, kind: Kind) -> None:
    """A smooth picture with a disc as its subject."""
    opaque = kind == "opaque"
    rng = np.random.default_rng(1)
    coarse = rng.integers(0, 256, (side // 64, side // 64, 3), np.uint8)
    pixels = np.empty((side, side, 3 if opaque else 4), np.uint16)
    colour = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
    pixels[..., :3] = colour
    if not opaque:
        y, x = np.ogrid[:side, :side]
        for rows in range(0, side, 256):
            distance = np.hypot(y[rows : rows + 256] - side / 2, x - side / 2)
            pixels[rows : rows + 256, :, 3] = np.clip((side * 0.4 - distance) * 16 + 128, 0, 255)
    pixels *= 257
    path.write_bytes(encode(Image(pixels, icc=display_p3() if kind == "p3" else None)))


def _status(name: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


def main(folder: str, action: str, files: str, options: str) -> None:
    settings = load_settings({"source": folder, "output": f"{folder}/out", **json.loads(options)})
    row = CATALOGUE[action]
    stage = row.stage_class()(**row.arguments(settings))
    if isinstance(stage, LoadableStage):
        stage.load()
    needed: list[int] = []

    class Watched(admission.MemoryBudget):
        @contextmanager
        def admit(self, bytes_needed: int, name: str) -> Iterator[Grow]:
            needed.append(bytes_needed)
            with super().admit(bytes_needed, name) as grow:

                def watched(extra: int) -> bool:
                    needed[-1] += extra
                    return grow(extra)

                yield watched

    setattr(local, "MemoryBudget", Watched)  # noqa: B010 -- the engine makes its own
    store, limits = LocalStore(folder), settings.limits.for_own_files()
    base = ImageRow("a.png", "a", "", Status.OK)
    inputs = {role: ObjectRef(store, name, limits, own=True) for role, name in json.loads(files).items()}
    item = WorkItem(base, inputs, {RAW: base}, lambda *kind: f"out/{action}/{kind[0]}", lambda digests, _: "")
    Path("/proc/self/clear_refs").write_text("5")  # The peak begins again.
    start = _status("VmRSS")
    (made,) = local.run_items(stage, row.asset, [item], LocalStore(folder), workers=1)
    sys.stdout.write(
        json.dumps(
            {
                "status": made.status.value,
                "error": made.error_message,
                "peak": _status("VmHWM") - start,
                "needed": needed[-1],
                "size": [made.width, made.height],
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
