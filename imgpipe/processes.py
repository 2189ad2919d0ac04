"""Names a process so that others can tell whether it is gone."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

_PROC = Path("/proc")
#: States of a process that has ended: a zombie waits for its parent only.
_ENDED = frozenset("ZXx")


@dataclass(frozen=True, slots=True)
class Process:
    """``system``: boot and process-id namespace in which ``pid`` counts; ``started``: clock ticks after boot.

    Process ids are reused: only with the start time they name one process. Where there is no ``/proc``, both
    are ``-``.
    """

    host: str
    system: str
    pid: int
    started: str

    @classmethod
    def current(cls) -> Process:
        """This process."""
        pid = os.getpid()
        started, _ = _started_and_state(pid) or ("-", "")
        return cls(socket.gethostname() or "localhost", _system(), pid, started)

    @classmethod
    def parse(cls, text: str) -> Process | None:
        """What :meth:`text` wrote; ``None`` for anything else."""
        parts = text.split()
        if len(parts) != 4 or not parts[2].isdecimal():
            return None
        return cls(parts[0], parts[1], int(parts[2]), parts[3])

    def text(self) -> str:
        """One line that :meth:`parse` reads."""
        return f"{self.host} {self.system} {self.pid} {self.started}"

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"

    def is_gone(self) -> bool | None:
        """Whether it has ended; ``None`` where that cannot be told from here: another machine, boot or
        container."""
        here = Process.current()
        if (self.host, self.system) != (here.host, here.system):
            return None
        if self.started == "-":
            return not _exists(self.pid)
        found = _started_and_state(self.pid)
        return found is None or found[0] != self.started or found[1] in _ENDED


@lru_cache(maxsize=1)
def _system() -> str:
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{(_PROC / 'self/ns/pid').stat().st_ino}"
    except OSError:
        return "-"


def _started_and_state(pid: int) -> tuple[str, str] | None:
    """Fields 22 and 3 of ``/proc/<pid>/stat`` (proc(5)); the name between them may hold anything."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return fields[19], fields[0]


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
