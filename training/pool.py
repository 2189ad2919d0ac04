"""Many drawings in one file, so that training reads patches instead of drawing them."""

from __future__ import annotations

import multiprocessing
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from training.brush import Plane
from training.drawing import draw

#: Held-out drawings have seeds from here on, the training's stay below.
HELD_OUT = 1_000_000


def open_pool(folder: Path, count: int, *, first: int = 0, size: int = 512, processes: int = 2) -> Plane:
    """(count, size, size, 3) uint8, the drawings of seeds ``first`` on; drawn once and kept in ``folder``."""
    path = folder / f"drawings-{first}-{count}-{size}.npy"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part.npy")
        pool = np.lib.format.open_memmap(part, "w+", np.uint8, (count, size, size, 3))
        with multiprocessing.get_context("spawn").Pool(processes, cv2.setNumThreads, (1,)) as workers:
            drawn = workers.imap(partial(draw, size=size), range(first, first + count), chunksize=4)
            for number, picture in enumerate(drawn):
                pool[number] = picture
                if number % 50 == 49:
                    print(f"drawn {number + 1} of {count}", flush=True)
        pool.flush()
        part.rename(path)
    return np.asarray(np.load(path, mmap_mode="r"))
