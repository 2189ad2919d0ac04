"""What the other benchmarks say of the machine that they ran on, and where they keep what they measured.

python benchmarks/machine.py          what they would say of this one
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"


def describe(**more: Any) -> dict[str, Any]:
    """Processor, cores and Python, and what the benchmark adds: the versions of what it compares."""
    return {"cpu": cpu_name(), "cores": os.cpu_count(), "python": platform.python_version(), **more}


def cpu_name() -> str:
    """The processor as it names itself, with its matrix unit if one is to be seen; else its architecture.

    Virtual machines of one name differ in it, and in speed by several times.
    """
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    unit = " with AMX" if any(line.startswith("flags") and " amx_bf16" in line for line in lines) else ""
    return names[0] + unit if names else platform.processor() or platform.machine()


def slug(*parts: object) -> str:
    """``parts`` as one word for a file name: small letters and digits, joined by hyphens."""
    text = " ".join(str(part) for part in parts)
    return "-".join("".join(sign.lower() if sign.isalnum() else " " for sign in text).split())


def keep(
    results: dict[str, Any], benchmark: str, where: str, output: Path | None = None, *, quiet: bool = False
) -> Path:
    """Write ``results`` as JSON into ``output``, or into ``results/<benchmark>-<where>.json`` without one.

    ``quiet``: more is to come, and will be kept in the same place.
    """
    path = output or RESULTS / f"{benchmark}-{where}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    if not quiet:
        print(f"\nkept in {path}")
    return path


def tried(measure: Callable[[], Any]) -> Any:
    """What ``measure`` gives; where it fails its error instead: one failure costs one row."""
    try:
        return measure()
    except Exception as exc:
        failed = f"{type(exc).__name__}: {(str(exc).strip().splitlines() or ['no message'])[0][:300]}"
        print(f"  failed: {failed}", file=sys.stderr)
        return {"failed": failed}


def compiler() -> str:
    """The C compiler that torch.compile takes, or nothing."""
    return next(filter(None, map(shutil.which, (os.environ.get("CC") or "cc", "gcc", "clang"))), "") or ""


def median_seconds(call: Callable[[], object], repeat: int) -> float:
    """The median of ``repeat`` timed calls, after one that is not timed."""
    call()
    times = []
    for _ in range(repeat):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


if __name__ == "__main__":
    print(json.dumps(describe(), indent=1))
