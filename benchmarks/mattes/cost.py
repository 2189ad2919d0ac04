"""Time and memory of large pictures: the contenders take turns, then each runs alone in fresh processes."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from imgpipe.host import forget_peak_memory, peak_memory_bytes
from mattes.cases import Case, make_cases
from mattes.contenders import OURS, RIVALS, contenders

#: rembg's matting: the naive cutout does no work that could be compared.
MATTING_RIVAL = RIVALS[1]

#: What is measured, where the real picture is at hand and where it is not.
_SUBJECTS = ("real-whole", "drawn-1", "drawn-6")
_KINDS = ("flat", "drawn")

TARGET_TIMES_FASTER, TARGET_MEMORY = 3.0, 0.5
TARGET_EDGE = 2048


def measure(edge: int, repeat: int, subjects: Sequence[str], quick: bool = False) -> dict[str, Any]:
    """Best of ``repeat`` turns and peak memory per picture (one if ``quick``), their sums and ratios."""
    pictures: dict[str, dict[str, dict[str, float]]] = {}
    chosen = [name for name in _SUBJECTS if name in subjects]
    for case in make_cases(edge, chosen, _KINDS[-1:] if quick else _KINDS):
        rows = _times(case, repeat)
        for name, peak in _peaks(case).items():
            rows[name]["peak_bytes"] = peak
        pictures[case.name] = rows
        _print(case.name, rows)
    total = {
        name: {
            "seconds": sum(rows[name]["seconds"] for rows in pictures.values()),
            "peak_bytes": max(rows[name]["peak_bytes"] for rows in pictures.values()),
        }
        for name in (MATTING_RIVAL, OURS)
    }
    _print("all together", total)
    return {"pictures": pictures, "all": total, **_verdict(edge, total)}


def report_own_peak(who: str, folder: Path) -> None:
    """Print what a cutout of the picture in ``folder`` adds to this fresh process's memory, bytes."""
    cut = contenders()[who]
    small = np.zeros((64, 64, 3), np.uint8)
    small[:, 32:] = 255
    cut(small, np.ascontiguousarray(small[..., 0]))  # imports and compiled functions are not the picture's
    picture, mask = np.load(folder / "picture.npy"), np.load(folder / "mask.npy")
    forget_peak_memory()
    before = peak_memory_bytes()
    cut(picture, mask)
    print(json.dumps({"peak_bytes": peak_memory_bytes() - before}))


def _times(case: Case, repeat: int) -> dict[str, dict[str, float]]:
    cuts = contenders()
    rows: dict[str, dict[str, float]] = {}
    for _ in range(repeat):
        for name in (MATTING_RIVAL, OURS):
            begin = time.perf_counter()
            cuts[name](case.picture, case.mask)
            seconds = time.perf_counter() - begin
            rows[name] = {"seconds": min(seconds, rows.get(name, {}).get("seconds", seconds))}
    return rows


def _peaks(case: Case) -> dict[str, int]:
    peaks = {}
    script = Path(__file__).resolve().parents[1] / "matting.py"
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "picture.npy", case.picture)
        np.save(Path(folder) / "mask.npy", case.mask)
        for name in (MATTING_RIVAL, OURS):
            command = [sys.executable, str(script), "--peak-of", name, "--case-folder", folder]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            peaks[name] = int(json.loads(done.stdout.splitlines()[-1])["peak_bytes"])
    return peaks


def _verdict(edge: int, total: dict[str, dict[str, float]]) -> dict[str, Any]:
    faster = total[MATTING_RIVAL]["seconds"] / total[OURS]["seconds"]
    memory = total[OURS]["peak_bytes"] / max(total[MATTING_RIVAL]["peak_bytes"], 1)
    met = faster >= TARGET_TIMES_FASTER and memory <= TARGET_MEMORY
    print(f"    ours: {faster:.1f} x faster, {memory:.2f} x the memory")
    if edge >= TARGET_EDGE:
        target = f"{TARGET_TIMES_FASTER:g} x faster at {TARGET_MEMORY:g} x the memory"
        print(f"    target, {target}: {'met' if met else 'missed'}")
    return {"times_faster": faster, "memory_ratio": memory, "met": met}


def _print(name: str, rows: dict[str, dict[str, float]]) -> None:
    for who, row in rows.items():
        mebibytes = row["peak_bytes"] / 2**20
        print(f"    {name:<28}{who:<18}{row['seconds']:9.2f} s {mebibytes:9.0f} MiB", flush=True)
