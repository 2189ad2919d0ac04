"""How many threads compute: one bound for all pools of a process."""

from __future__ import annotations

import os


def network_threads() -> int:
    """Threads for a network on the CPU: ``OMP_NUM_THREADS`` where it is set, else the usable cores."""
    asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
