"""``imgpipe run`` killed at random moments and started again at once: the results of an undisturbed run."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from imgpipe.storage import keys
from imgpipe.storage.local import LocalStore
from imgpipe_tests.chaos.outcome import faults_of, pictures_of, rows_of
from imgpipe_tests.end_to_end.conftest import CLASSICAL, write_drawing

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1800)]

IMAGES, SHARD_SIZE, KILLS, EARLY_KILLS, WORKERS = 200, 100, 20, 4, 2


class Job:
    """``imgpipe run`` on ``folder/source`` into an output of its own."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self.output = folder, folder / name
        self._environment = {
            **os.environ,
            "DAGSTER_HOME": str(folder / f"{name}-dagster"),
            "OMP_NUM_THREADS": "1",
        }

    def start(self) -> subprocess.Popen[str]:
        place = ("--source", str(self._folder / "source"), "--output", str(self.output), "--dataset", "art")
        size = (
            "--shard-size",
            str(SHARD_SIZE),
            "--set",
            f"workers={WORKERS}",
            "--set",
            "isolation.mode=none",
        )
        return subprocess.Popen(
            [sys.executable, "-m", "imgpipe", "run", *place, *size, *CLASSICAL],
            cwd=self._folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def finish(self) -> str:
        process = self.start()
        out, _ = process.communicate(timeout=900)
        assert process.returncode in (0, 1), out
        return out

    def files(self) -> dict[tuple[str, str], int]:
        """(folder, image) -> when its files were written last, of every stage."""
        found: dict[tuple[str, str], int] = {}
        for folder in ("matted", "upscaled", "quality"):
            for path in self.output.glob(f"**/{folder}/art/0*/**/*"):
                key = str(path.relative_to(self.output))
                if path.is_file() and keys.place_of(key):
                    place = (folder, keys.image_of(key))
                    found[place] = max(found.get(place, 0), path.stat().st_mtime_ns)
        return found


def wait(process: subprocess.Popen[str], enough: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 300
    while process.poll() is None and not enough():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_killed_at_random_moments(tmp_path: Path) -> None:
    for number in range(IMAGES):
        write_drawing(tmp_path / "source", f"{number:03}.png", seed=number)
    calm, killed = Job(tmp_path, "calm"), Job(tmp_path, "killed")
    calm.finish()
    total = len(calm.files())
    assert total == 3 * IMAGES

    draw = random.Random(7)
    moments: list[int | float] = sorted(draw.randrange(1, total) for _ in range(KILLS - EARLY_KILLS))
    for _ in range(EARLY_KILLS):  # while it starts
        moments.insert(draw.randrange(len(moments)), draw.uniform(0.1, 5.0))
    again = most = 0
    before: dict[tuple[str, str], int] = {}
    kills = 0
    for moment in moments:
        process = killed.start()
        begun = time.monotonic()
        if isinstance(moment, int):
            wait(process, lambda: len(killed.files()) >= moment)  # noqa: B023
            time.sleep(draw.uniform(0, 0.05))
        else:
            wait(process, lambda: time.monotonic() - begun > moment)  # noqa: B023
        kills += process.poll() is None
        process.kill()
        process.communicate()
        after = killed.files()
        once = sum(before[place] != written for place, written in after.items() if place in before)
        again, most, before = again + once, max(most, once), after
    out = killed.finish()
    again += sum(before[place] != written for place, written in killed.files().items() if place in before)
    print(f"\n{kills} kills, {total} results, made again: {again}, at most {most} after one kill")

    assert "waiting: " not in out
    calm_output, output = LocalStore(calm.output), LocalStore(killed.output)
    assert rows_of(output) == rows_of(calm_output)
    assert pictures_of(output) == pictures_of(calm_output)
    assert faults_of(output) == []
    assert again <= kills * WORKERS
