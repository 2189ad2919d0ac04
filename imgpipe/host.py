"""What this process may use of the machine, by affinity and Linux's control groups, and what it has used.

Sources: cgroups(7), sched_setaffinity(2), proc(5); the kernel's documentation of cgroup v2 (``cpu.max``,
``memory.max``) and v1 (``cpu.cfs_quota_us``, ``memory.limit_in_bytes``).
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")
CGROUP = Path("/sys/fs/cgroup")
#: What this process may take of the machine at most, where another program shares it out: cores.
_share: list[int] = []


def take_share(cores: int) -> None:
    """From now on this process takes so many cores at most, and of memory the same part."""
    _share[:] = [max(1, cores)]


def share_of_memory() -> float:
    """The part of the free memory that this process may count on, 0..1."""
    return usable_cores() / _cores() if _share else 1.0


def usable_cores(*, proc: Path = PROC, cgroup: Path = CGROUP) -> int:
    """Cores that this process may use: the least of its affinity, of what the CPU quota of each cgroup above
    it allows, rounded up, and of :func:`take_share`; at least 1."""
    return min([_cores(proc, cgroup), *_share])


def _cores(proc: Path = PROC, cgroup: Path = CGROUP) -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for folder in _folders("cpu", proc, cgroup):
        if (folder / "cpu.max").is_file():
            quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()
        elif (folder / "cpu.cfs_quota_us").is_file():
            quota, period = (
                (folder / f"cpu.cfs_{name}_us").read_text(encoding="ascii").strip()
                for name in ("quota", "period")
            )
        else:
            continue
        if quota not in ("max", "-1"):
            cores = min(cores, max(1, -(-int(quota) // int(period))))
    return cores


def memory_left_bytes(*, proc: Path = PROC, cgroup: Path = CGROUP) -> int | None:
    """Bytes that may be taken now without swapping or being killed: the least of the kernel's
    ``MemAvailable`` and what each cgroup above this process leaves (limit minus usage, page cache that can
    be dropped not counted). ``None`` where neither is known."""
    amounts = [*_cgroup_remaining(proc, cgroup)]
    if available := values(proc / "meminfo", ":").get("MemAvailable"):
        amounts.append(int(available.split()[0]) * 1024)
    return max(0, min(amounts)) if amounts else None


def forget_peak_memory(*, proc: Path = PROC) -> bool:
    """Let :func:`peak_memory_bytes` begin anew from what is resident now; whether the system can (Linux)."""
    control = proc / "self" / "clear_refs"
    try:
        control.write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def peak_memory_bytes(*, proc: Path = PROC) -> int:
    """The largest resident set that this process has had since it was started or :func:`forget_peak_memory`.

    From ``VmHWM`` where there is one: ``ru_maxrss`` of a new process starts at the peak of the one that
    started it, so that a large parent would be measured instead of a small child.
    """
    if found := values(proc / "self" / "status", ":").get("VmHWM"):
        return int(found.split()[0]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def values(path: Path, separator: str) -> dict[str, str]:
    """Key -> value of the lines of a file of the kernel's; empty where it is absent."""
    lines = path.read_text("utf-8", "replace").splitlines() if path.is_file() else []
    pairs = (line.partition(separator) for line in lines)
    return {key.strip(): value.strip() for key, _, value in pairs}


def _folders(controller: str, proc: Path, cgroup: Path) -> Iterator[Path]:
    """Of every cgroup that governs ``controller`` for this process, from its own to the root, v1 and v2."""
    memberships = proc / "self" / "cgroup"
    lines = memberships.read_text(encoding="utf-8").splitlines() if memberships.is_file() else ["0::/"]
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if number != "0" and controller not in controllers.split(","):
            continue
        root = cgroup if number == "0" else cgroup / controller
        group = root / path.strip("/")
        # Inside a container the path is often the host's and absent here; the root then is the container.
        yield from (folder for folder in (group, *group.parents) if folder.is_relative_to(root))


def _cgroup_remaining(proc: Path, cgroup: Path) -> Iterator[int]:
    """Limit minus usage of every memory cgroup with a limit."""
    for folder in _folders("memory", proc, cgroup):
        for limit, usage, droppable in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            if not (folder / limit).is_file() or not (folder / usage).is_file():
                continue
            text = (folder / limit).read_text(encoding="utf-8").strip()
            if text != "max":
                used = int((folder / usage).read_text(encoding="utf-8"))
                cached = int(values(folder / "memory.stat", " ").get(droppable, 0))
                yield int(text) - max(0, used - cached)
