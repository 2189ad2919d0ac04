"""The garbage collector rests while anything starts, and works again afterwards."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from typing import Any

import pytest

from imgpipe.config import load_settings
from imgpipe.errors import WeightsMissing
from imgpipe.stages.build import warm_up
from imgpipe.stages.start import starting


def test_it_works_again_when_the_last_one_is_done() -> None:
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with starting():
            inside.set()
            leave.wait(30)

    with starting():
        thread = threading.Thread(target=other)
        thread.start()
        assert inside.wait(30)
        assert not gc.isenabled()
    assert not gc.isenabled()
    leave.set()
    thread.join()
    assert gc.isenabled()


def test_what_started_is_left_out_of_later_collections() -> None:
    with starting():
        made = [object()]
    assert all(each is not made for each in gc.get_objects())


def test_the_interpreter_takes_all_of_it_apart_at_its_end() -> None:
    code = """
import os
from imgpipe.stages.start import starting

class Kept:
    def __init__(self):
        self.itself = self
    def __del__(self, write=os.write):
        write(1, b"gone")

with starting():
    kept = Kept()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout == b"gone"


def test_it_works_again_after_an_error() -> None:
    with pytest.raises(ValueError, match="broken"), starting():
        raise ValueError("broken")
    assert gc.isenabled()


@pytest.mark.parametrize("fails", [False, True])
def test_it_rests_while_networks_are_loaded(fails: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []

    def build(*_: Any, **__: Any) -> str:
        seen.append(gc.isenabled())
        if fails:
            raise WeightsMissing("no such file")
        return "loaded"

    monkeypatch.setattr("imgpipe.upscaling.build.build_upscaler", build)
    scale = 1.75 if fails else 2.25
    warm_up(load_settings({"actions": ["upscale"], "upscale.model": "lanczos", "upscale.scale": scale}))
    for thread in threading.enumerate():
        if thread.name == "imgpipe-warm-up":
            thread.join(30)
    assert seen == [False]
    assert gc.isenabled()
