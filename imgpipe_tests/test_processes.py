"""A process is known by host, boot, process id and start time."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

from imgpipe.processes import Process


def test_this_process_is_there_and_reads_back() -> None:
    mine = Process.current()
    assert mine.pid == os.getpid()
    assert Process.parse(mine.text()) == mine
    assert mine.is_gone() is False
    assert str(mine) == f"process {os.getpid()} on {mine.host}"


def test_an_ended_one_is_gone_even_before_its_parent_asks() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        theirs = replace(Process.current(), pid=child.pid, started=_started(child.pid))
        assert theirs.is_gone() is False
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it stays a zombie
        assert theirs.is_gone() is True
    finally:
        child.kill()
        child.communicate()
    assert theirs.is_gone() is True


def test_a_reused_process_id_is_another_process() -> None:
    assert replace(Process.current(), started="1").is_gone() is True


def test_of_another_host_boot_or_container_nothing_is_known() -> None:
    mine = Process.current()
    assert replace(mine, host="elsewhere", pid=2**22).is_gone() is None
    assert replace(mine, system="another-boot/1", pid=2**22).is_gone() is None


def test_other_texts_are_no_process() -> None:
    for text in ("", "host", "host boot one 5", "a b 1 2 3"):
        assert Process.parse(text) is None


def _started(pid: int) -> str:
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:  # noqa: PTH123
        return file.read().rpartition(")")[2].split()[19]
