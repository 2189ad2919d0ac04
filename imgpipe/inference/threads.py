"""How many threads compute: one bound for all pools of a process.

Pools that each have a thread per core share the cores with one another's work: a network that runs while
neighbours are decoded and encoded must not have threads that spin while they wait. OpenVINO's do not
(measured: its CPU seconds stay the same beside one and two busy processes, torch's grow by a quarter).
"""

from __future__ import annotations

import importlib
import os
import sys
from functools import cache

from imgpipe.host import usable_cores


@cache
def network_threads() -> int:
    """Threads of each pool: ``OMP_NUM_THREADS`` where it is set, else the usable cores."""
    asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(asked) if asked.isdigit() and int(asked) > 0 else usable_cores()


@cache
def one_blas_thread() -> None:
    """Leave one thread to each BLAS of this process (NumPy's, SciPy's), for good.

    For work that runs on all cores by itself. OpenBLAS's threads spin between its short calls and take turns
    under one lock: on 2 cores the factors of matting took 1.5 times the core seconds with them, and no less
    time even for one picture.
    """
    import scipy.linalg  # noqa: F401  # which loads its BLAS
    import threadpoolctl

    threadpoolctl.threadpool_limits(limits=1, user_api="blas")


def bound_pools(at_once: int = 1) -> None:
    """Set the pools of loaded libraries to :func:`network_threads`; OpenVINO is given it when it compiles.

    OpenCV's is shared by the pictures that are worked on ``at_once``, each in a thread of its own: its
    threads spin for the next call. On 2 cores scoring took 0.39 core-seconds with them and 0.31 without.
    """
    threads = network_threads()
    for library, setting, count in (
        ("cv2", "setNumThreads", max(1, threads // at_once)),
        ("torch", "set_num_threads", threads),
    ):
        if library in sys.modules:
            # Waits where another thread is still importing it.
            getattr(importlib.import_module(library), setting)(count)
