"""``imgpipe`` as a process under way, with a network that takes its time."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from imgpipe.metrics import limits_by_check
from imgpipe_tests.matting.graphs import slow, write_graph

#: As many images are in flight at once.
WORKERS = 2
_PATIENCE_SECONDS = 150.0
#: The network's mattes are no good ones.
_FOR_INFORMATION = dict.fromkeys(limits_by_check()["matte"], "info")


class Command:
    """The command ``run`` on ``folder/source``: matting alone, by a network in ``folder``.

    ``layers`` of the network, 10 to 20 ms each.
    """

    def __init__(self, folder: Path, *, layers: int = 30) -> None:
        self.folder = folder
        self.environment = {
            **os.environ,
            "COLUMNS": "300",
            "DAGSTER_HOME": str(folder / "dagster"),
            "OMP_NUM_THREADS": "1",
        }
        network = write_graph(folder / "slow.onnx", slow(layers), 256)
        self.arguments = [
            *("--source", str(folder / "source"), "--output", str(folder / "output"), "--dataset", "art"),
            *("--set", "actions=[rembg]", "--set", f"rembg.model={network}", "--set", f"workers={WORKERS}"),
            *("--set", "rembg.alpha_matting=false", "--set", "quality.diff=false", "--set", "device=auto"),
            # A result that is rejected is moved, which is no second computation of it.
            *("--set", "isolation.mode=none", "--set", f"quality.severity={json.dumps(_FOR_INFORMATION)}"),
        ]

    def start(self, *arguments: str, stdout: int = subprocess.PIPE) -> subprocess.Popen[str]:
        """The process, in a session of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "imgpipe", "run", *self.arguments, *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=heed_signals,
        )

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """Exit code, stdout and stderr of the command run to its end."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=_PATIENCE_SECONDS)
        return process.returncode, out, err

    def mattes(self) -> Mapping[str, int]:
        """Time of writing, ns, of every matte by name; good and rejected ones."""
        found = self.folder.glob("output/**/matted/art/00000/*.png")
        return {path.name: path.stat().st_mtime_ns for path in found}

    def is_held_at_work(self, process: subprocess.Popen[str]) -> bool:
        """Stops the process, which goes on where its note of what is in flight names nothing unfinished."""
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.05)  # until all its threads have stopped
        (note,) = self.folder.glob("output/**/*-in-flight.json")
        if {f"{image_id}.png" for image_id in json.loads(note.read_text())} - self.mattes().keys():
            return True
        process.send_signal(signal.SIGCONT)
        return False

    def hold(self, process: subprocess.Popen[str]) -> None:
        hold(process.pid, self.folder / "dagster")

    def wait_for_mattes(self, count: int, process: subprocess.Popen[str]) -> None:
        wait_until(lambda: len(self.mattes()) >= count, process)


def hold(pid: int, home: Path) -> None:
    """Stops a process until SIGCONT, at a moment when nobody is writing Dagster's databases in ``home``."""
    while True:
        os.kill(pid, signal.SIGSTOP)
        time.sleep(0.05)  # until all its threads have stopped
        if all(_may_be_written(path) for path in home.glob("**/*.db")):
            return
        os.kill(pid, signal.SIGCONT)
        time.sleep(0.02)


def _may_be_written(database: Path) -> bool:
    with contextlib.closing(sqlite3.connect(database, timeout=0, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        connection.execute("ROLLBACK")
        return True


def heed_signals() -> None:
    """Of a new process, also where the tests themselves run under ``nohup``."""
    heeded = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM)
    for number in heeded:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, heeded)


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Raises where the process ends, or a long time passes, before the condition holds."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not condition():
        if process.poll() is not None:
            out, err = process.communicate()
            raise AssertionError(f"it ended with {process.returncode} before that:\n{out}\n{err}")
        if time.monotonic() > deadline:
            process.kill()
            raise AssertionError(f"not within {_PATIENCE_SECONDS:g} s:\n{process.communicate()}")
        time.sleep(0.02)
