"""Mattes measured against exact truth, beside rembg's own functions fed with the same masks.

    python benchmarks/matting.py --quick                      tiny, some seconds
    python benchmarks/matting.py                              48 cases of 384 x 384, costs at 1024
    python benchmarks/matting.py --sizes 512 1024 --large 2048 --repeat 3
    python benchmarks/matting.py --only solver                the equations' solver against pymatting's
    python benchmarks/matting.py --only classical             the backend without weights, ten seeds

Parts: ``errors`` (alpha, colours), ``cost`` (seconds and peak memory of large pictures), ``real`` (the stage
on real masks, on one and two threads), ``solver``, ``classical``. The cases are those of ``mattes/cases.py``;
those with the real picture need ``../shared``.
Results are printed and kept as JSON, one file per machine.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import cv2
import machine
import numpy as np
import pymatting
from mattes import classical, cost, errors, real, solver
from mattes.cases import subject_names

PARTS = ("errors", "cost", "real", "solver", "classical")


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    if options.peak_of:
        cost.report_own_peak(options.peak_of, options.case_folder)
        return 0
    described = machine.describe(
        opencv=cv2.__version__, pymatting=pymatting.__version__, numpy=np.__version__
    )
    print(", ".join(f"{name} {value}" for name, value in described.items()))
    results: dict[str, Any] = {"machine": described}
    subjects = subject_names()
    if not subjects[0].startswith("real"):
        print("the real picture is not at hand (../shared): its cases are left out")
    if options.quick:
        subjects = [subjects[0], subjects[-1]]
    if "errors" in options.only:
        results["errors"] = {size: errors.measure(size, subjects) for size in options.sizes}
    if "cost" in options.only:
        print(f"\n{options.large} x {options.large}, best of {options.repeat}")
        results["cost"] = {
            options.large: cost.measure(options.large, options.repeat, subjects, options.quick)
        }
    if "real" in options.only:
        print(f"\nreal masks, {options.large} x {options.large}, {options.repeat} turns")
        results["real"] = real.measure(
            options.large, options.masks, options.repeat, 1 if options.quick else 3
        )
    if "solver" in options.only:
        results["solver"] = solver.measure(options.solver_size, subjects[:1] if options.quick else subjects)
    if "classical" in options.only:
        results["classical"] = classical.measure(options.seeds, options.quick)
    where = machine.slug(described["cpu"], described["cores"], "cores")
    machine.keep(results, "matting", where, options.output)
    return 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sizes", nargs="+", type=int, default=[384], help="edges of the cases, px")
    parser.add_argument("--large", type=int, default=1024, help="edge of the pictures for cost, px")
    parser.add_argument("--repeat", type=int, default=2, help="turns at cost; the best counts")
    parser.add_argument("--solver-size", type=int, default=256, help="edge of the solver's cases, px")
    parser.add_argument("--seeds", type=int, default=10, help="seeds of drawings for the classical backend")
    parser.add_argument("--masks", type=Path, help="folder of more real masks, see mattes/real.py")
    parser.add_argument("--only", nargs="+", default=list(PARTS), choices=PARTS, help="these parts alone")
    parser.add_argument("--quick", action="store_true", help="two subjects, tiny sizes, one turn")
    parser.add_argument("--output", type=Path, help="JSON file; default: benchmarks/results/")
    parser.add_argument("--peak-of", help=argparse.SUPPRESS)
    parser.add_argument("--case-folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.quick:
        options.sizes, options.large, options.repeat = [128], 192, 1
        options.solver_size, options.seeds = 96, 1
    return options


if __name__ == "__main__":
    raise SystemExit(main())
