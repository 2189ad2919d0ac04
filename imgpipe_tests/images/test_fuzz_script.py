"""The fuzz script runs, repeats a case, and notices what must not happen."""

from __future__ import annotations

import importlib.util
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

from imgpipe.images.isolation import process
from imgpipe.images.isolation.process import _WORKER_CODE
from imgpipe_tests.images.seeds import seed_files
from imgpipe_tests.images.test_hostile import outcome

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "fuzz_decode.py"
#: A worker with a defect, before ours begins.
DEFECT = "import sys; sys.path[:] = sys.argv[5:]; from imgpipe.images import worker; "

pytestmark = pytest.mark.skipif(not SCRIPT.is_file(), reason="scripts/ is not part of this installation")


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("fuzz_decode", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "fuzz_decode", module)
    monkeypatch.setattr(sys, "path", list(sys.path))
    spec.loader.exec_module(module)
    return module


def test_a_short_run(script: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert script.main(["--seconds", "2", "--seed", "3"]) == 0
    printed = capsys.readouterr().out
    assert "of seed 3 in " in printed
    assert " DecodeError" in printed
    assert " image (PNG)" in printed
    assert "failures: 0" in printed


def test_mutated_files_give_an_image_or_our_own_error(script: ModuleType) -> None:
    """The same files each time, in this process; :func:`outcome` lets no other exception pass."""
    seeds = seed_files()
    outcomes = Counter(outcome(script.mutated(seeds, 4, number)) for number in range(3000))
    assert outcomes["image"] > 50, outcomes
    assert outcomes["DecodeError"] > 50, outcomes


def test_a_case_is_known_by_its_seed_and_number(script: ModuleType, tmp_path: Path) -> None:
    seeds = seed_files()
    assert script.main(["--seed", "5", "--only", "17", "--keep", str(tmp_path)]) == 0
    assert (tmp_path / "5-17.bin").read_bytes() == script.mutated(seeds, 5, 17)
    assert len({script.mutated(seeds, 5, number) for number in range(50)}) > 45


@pytest.mark.parametrize(
    ("defect", "words"),
    [
        ("worker.decode = lambda *_, **__: 1 / 0; ", "ZeroDivisionError: division by zero"),
        ("import os; worker.decode = lambda *_, **__: os.abort(); ", "crashed with SIGABRT"),
        (
            "import time; real = worker.decode; worker.decode = "
            "lambda *a, **k: (time.sleep(0.3), real(*a, **k))[1]; ",
            "took ",
        ),
    ],
)
def test_failures_are_noticed(
    script: ModuleType,
    defect: str,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(process, "_WORKER_CODE", DEFECT + defect + _WORKER_CODE)
    monkeypatch.setattr(script, "SLOWEST_ALLOWED_SECONDS", 0.25)
    assert script.main(["--seed", "1", "--only", "2", "--keep", str(tmp_path)]) == 1
    assert (tmp_path / "1-2.bin").is_file()
    printed = capsys.readouterr().out
    assert "failures: 1\n  case 2: " in printed
    assert words in printed
