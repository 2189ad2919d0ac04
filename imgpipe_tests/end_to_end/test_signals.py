"""The whole command, killed and stopped by real signals, and what the next one does."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from dagster import DagsterInstance, DagsterRunStatus, RunsFilter

from imgpipe.assets.graph import REPORT_JOB
from imgpipe.records import ImageRow
from imgpipe.storage.local import LocalStore
from imgpipe.storage.tables import read_table
from imgpipe_tests.command_line import imgpipe
from imgpipe_tests.end_to_end.command import WORKERS, Command, heed_signals, wait_until
from imgpipe_tests.end_to_end.conftest import write_drawing

IMAGES = 8


@pytest.fixture
def command(tmp_path: Path) -> Command:
    for number in range(IMAGES):
        write_drawing(tmp_path / "source", f"{number}.png", seed=number)
    return Command(tmp_path)


def rows(command: Command) -> list[ImageRow]:
    return read_table(LocalStore(command.folder / "output"), "matted_images", "art", "00000")[0]


def statuses(command: Command) -> list[DagsterRunStatus]:
    with DagsterInstance.from_config(command.environment["DAGSTER_HOME"]) as instance:
        return [run.status for run in instance.get_runs()]


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]


def test_after_a_kill_the_next_run_goes_on_at_once(command: Command) -> None:
    process = command.start()
    command.wait_for_mattes(1, process)
    wait_until(lambda: command.is_held_at_work(process), process)
    process.kill()
    process.communicate()
    code, out, err = command.run()
    assert code in (0, 1), out + err  # the network's mattes are nonsense: all are rejected
    (said,) = lines(err)
    assert f" of art-00000 (process {process.pid} on " in said
    assert "its process is gone" in said
    assert "1 of 1 shard to do" in out
    assert statuses(command) == [DagsterRunStatus.SUCCESS, DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE]
    assert len(command.mattes()) == IMAGES
    attempts = sorted(row.attempts for row in rows(command))
    assert 1 <= attempts.count(2) <= 2 * WORKERS, attempts
    assert set(attempts) == {1, 2}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_stop_is_one_line_an_exit_code_and_little_done_twice(
    command: Command, number: signal.Signals
) -> None:
    for seed in range(IMAGES, 3 * IMAGES):  # enough for the signal to be heard before all are done
        write_drawing(command.folder / "source", f"{seed}.png", seed=seed)
    process = command.start()
    command.wait_for_mattes(3, process)
    assert process.poll() is None  # not over before the signal
    os.killpg(process.pid, number)  # as a terminal does: to all processes of the group
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number, out + err
    (said,) = lines(err)
    assert said.startswith(f"interrupted by {number.name}: ")
    assert "Traceback" not in out
    finished = command.mattes()
    assert len(finished) < 3 * IMAGES
    assert statuses(command) == [DagsterRunStatus.CANCELED]
    code, out, err = command.run()
    assert (code in (0, 1), lines(err)) == (True, []), out + err
    again = [name for name, written in command.mattes().items() if finished.get(name, written) != written]
    assert len(again) <= WORKERS, again
    assert len(command.mattes()) == 3 * IMAGES


def test_the_second_of_two_waits_and_says_for_whom(command: Command) -> None:
    first = command.start()
    command.wait_for_mattes(1, first)
    command.hold(first)  # until the second waits for it, however long that takes to start
    second = command.start()
    assert second.stderr is not None
    heard = second.stderr.readline()
    first.send_signal(signal.SIGCONT)
    out, err = second.communicate(timeout=150)
    err, code = heard + err, second.returncode
    said = [line for line in lines(err) if "waiting: " in line]
    assert f"art 00000 is held by process {first.pid} on " in said[0]
    assert all(f" is held by process {first.pid} on " in line for line in said)
    first_out, first_err = first.communicate(timeout=60)
    assert (first.returncode, code) == (0, 0) or (first.returncode, code) == (1, 1), out + err + first_out
    assert lines(first_err) == []
    assert [row.attempts for row in rows(command)] == [1] * IMAGES
    assert not list((command.folder / "output/leases").rglob("*.json"))
    assert "done by the run that was waited for" in out
    with DagsterInstance.from_config(command.environment["DAGSTER_HOME"]) as instance:
        reports = instance.get_runs(RunsFilter(job_name=REPORT_JOB))
    assert [run.status for run in reports] == [DagsterRunStatus.SUCCESS]


def test_a_second_ctrl_c_ends_at_once(tmp_path: Path) -> None:
    write_drawing(tmp_path / "source", "0.png", seed=0)
    command = Command(tmp_path, layers=1500)  # half a minute for one image
    process = command.start()
    log = tmp_path / "output/shards/art/00000.parquet"
    wait_until(lambda: log.is_file() and _is_under_way(tmp_path / "dagster"), process)
    time.sleep(2.0)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None  # it waits for the image in flight
    before = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert time.monotonic() - before < 2.0
    assert process.returncode == 130
    assert len(lines(err)) == 1, out + err


def test_a_closed_terminal_ends_it_in_order(command: Command) -> None:
    """As a terminal emulator that is closed: the kernel sends SIGHUP, and nothing can be written any more."""
    leader, follower = os.openpty()
    take = "fcntl.ioctl(0, termios.TIOCSCTTY, 0)"
    start = f"import fcntl, termios; {take}; from imgpipe.cli import main; main()"
    arguments = ["run", *command.arguments]
    process = subprocess.Popen(
        [sys.executable, "-c", start, *arguments],
        cwd=command.folder,
        env=command.environment,
        stdin=follower,
        stdout=follower,
        stderr=follower,
        start_new_session=True,
        preexec_fn=heed_signals,
        text=True,
    )
    os.close(follower)
    os.set_blocking(leader, False)

    def enough() -> bool:
        with contextlib.suppress(BlockingIOError):
            os.read(leader, 65_536)  # or its writes would block
        return len(command.mattes()) >= 2

    wait_until(enough, process)
    os.close(leader)
    assert process.wait(timeout=60) == 129
    assert statuses(command) == [DagsterRunStatus.CANCELED]


def _is_under_way(home: Path) -> bool:
    """Whether a run's matting step has started."""
    asked = "SELECT 1 FROM event_logs WHERE step_key = 'matted_images' AND dagster_event_type = 'STEP_START'"
    with contextlib.suppress(sqlite3.OperationalError):  # its table is not there yet
        for path in home.glob("history/runs/*-*.db"):
            with contextlib.closing(sqlite3.connect(path)) as connection:
                if connection.execute(asked).fetchall():
                    return True
    return False


def test_the_exit_codes_are_in_the_help() -> None:
    shown = " ".join(imgpipe("--help")[1].replace("│", " ").split())
    assert "129, 130, 141, 143 interrupted" in shown
