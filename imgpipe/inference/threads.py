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


def bound_pools() -> None:
    """Set the pools of loaded libraries to :func:`network_threads`; OpenVINO is given it when it compiles."""
    threads = network_threads()
    for library, setting in (("cv2", "setNumThreads"), ("torch", "set_num_threads")):
        if library in sys.modules:
            # Waits where another thread is still importing it.
            getattr(importlib.import_module(library), setting)(threads)
