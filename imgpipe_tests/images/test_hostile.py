"""Whatever the bytes: an image or one of our errors, in bounded time and memory."""

from __future__ import annotations

import functools
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from imgpipe.errors import ImageError, ImgpipeError
from imgpipe.images.decode import decode
from imgpipe.images.encode import encode
from imgpipe.settings import LimitSettings
from imgpipe_tests.images import hostile
from imgpipe_tests.images.seeds import seed_files

LIMITS = LimitSettings(max_pixels=1_000_000)
CORPUS = hostile.corpus()


@pytest.mark.parametrize("name", CORPUS)
def test_each_hostile_file(name: str) -> None:
    data, expected = CORPUS[name]
    start = time.perf_counter()
    if expected is None:
        decoded = decode(data, name=name, limits=LIMITS)
        assert decoded.pixels.size
        encode(decoded, format="PNG")
    else:
        with pytest.raises(ImageError) as caught:
            decode(data, name=name, limits=LIMITS)
        assert type(caught.value) is expected, caught.value
        assert str(caught.value).startswith(f"{name}: ")
        assert ";" in str(caught.value), "the message does not say what to do"
    assert time.perf_counter() - start < 5.0


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_bombs_cost_no_memory() -> None:
    """The corpus adds less than 120 MB to a fresh process, though its bombs would unpack to far more."""
    # VmHWM and not ru_maxrss, which a new process takes over from the one that started it.
    code = (
        "import pathlib\n"
        "from imgpipe_tests.images.test_hostile import CORPUS, outcome\n"
        "def peak_kib():\n"
        "    text = pathlib.Path('/proc/self/status').read_text()\n"
        "    return int(text.split('VmHWM:')[1].split()[0])\n"
        "before = peak_kib()\n"
        "for data, _ in CORPUS.values():\n"
        "    outcome(data)\n"
        "print(before, peak_kib())\n"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    before, after = map(int, done.stdout.split())
    assert after - before < 120_000, f"{before} -> {after} KiB"


def outcome(data: bytes) -> str:
    """The error's class, or a mark for an image; anything else is a failure of the test."""
    try:
        decoded = decode(data, name="mutated", limits=LIMITS)
    except ImgpipeError as exc:
        return type(exc).__name__
    assert decoded.pixels.dtype in (np.uint8, np.uint16)
    return "image"


@functools.cache
def _seeds() -> tuple[bytes, ...]:
    return tuple(seed_files())


@st.composite
def mutated_files(draw: st.DrawFn) -> bytes:
    """A good file with bytes replaced, cut out, doubled, or its end cut off; most changes near its start."""
    data = bytearray(draw(st.sampled_from(_seeds())))
    for _ in range(draw(st.integers(1, 6))):
        reach = len(data) if draw(st.booleans()) else min(len(data), 400)
        at = draw(st.integers(0, max(0, reach - 1)))
        match draw(st.sampled_from(["set", "interesting", "cut", "double", "end"])):
            case "set":
                data[at : at + 1] = draw(st.binary(min_size=1, max_size=4))
            case "interesting":
                data[at : at + 4] = draw(
                    st.sampled_from(
                        [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"\0\0\0\1"]
                    )
                )
            case "cut":
                del data[at : at + draw(st.integers(1, 40))]
            case "double":
                data[at:at] = data[at : at + draw(st.integers(1, 40))]
            case "end":
                del data[max(1, at) :]
    return bytes(data)


@settings(
    max_examples=5000,
    deadline=timedelta(seconds=10),
    phases=[Phase.generate],
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
@given(mutated_files())
def _mutate(outcomes: dict[str, int], data: bytes) -> None:
    found = outcome(data)
    outcomes[found] = outcomes.get(found, 0) + 1


def test_mutated_files_give_an_image_or_our_own_error() -> None:
    """The same 5,000 damaged files each time; no other exception, no file that takes over 10 s."""
    outcomes: dict[str, int] = {}
    _mutate(outcomes)
    assert sum(outcomes.values()) >= 4000, outcomes
    assert outcomes.get("image", 0) > 50, outcomes
    assert outcomes.get("DecodeError", 0) > 50, outcomes
