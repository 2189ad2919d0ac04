"""Whatever the bytes: an image or one of our errors, in bounded time and memory."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from imgpipe.errors import ImageError, ImgpipeError
from imgpipe.images.decode import decode
from imgpipe.images.encode import encode
from imgpipe.settings import LimitSettings
from imgpipe_tests.images import hostile

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
