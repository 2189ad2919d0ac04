"""Which planted defects the verdict sees, and how often it calls clean results bad.

Called by ``benchmarks/quality.py --defects``; the defects are those of ``imgpipe_tests/quality/defects.py``.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from imgpipe.images.image import Image  # noqa: E402
from imgpipe.quality.report import QualityReport  # noqa: E402
from imgpipe.quality.score import MatteEvidence, score  # noqa: E402
from imgpipe.records import ModelUse, Status, TileGrid  # noqa: E402
from imgpipe.settings import QualitySettings, UpscaleSettings  # noqa: E402
from imgpipe_tests.opencv_files import opencv_decode  # noqa: E402
from imgpipe_tests.quality.defects import DEFECTS, MATTE_DEFECTS, plant  # noqa: E402
from imgpipe_tests.quality.drawings import U8, area, draw, enlarge  # noqa: E402
from training.samples.drawings import Drawing, draw_samples  # noqa: E402

SCALE = 4
TILE_PX = 128
CROP = 320, 240
NETWORK_WEIGHTS = "realesr-animevideov3.safetensors"
LANCZOS = ModelUse("lanczos", "classical")
NETWORK = ModelUse("realesr-animevideov3", "spandrel")
#: What is drawn at the larger size is no enlargement of any kernel: it is judged as a faithful network's.
FAITHFUL = ModelUse("imgpipe-lite", "onnx")
SETTINGS = QualitySettings()
#: Kinds that must always be found -> the strengths (0..2) that this holds for.
ALWAYS = {
    "black_tile": (0, 1, 2),
    "duplicated_tile": (0, 1, 2),
    "channel_swap": (0, 1, 2),
    "colour_shift": (1, 2),
    "shift": (0, 1, 2),
}
SEAM_TARGET = 0.95
FALSE_ALARMS = {"drawn": 0.02, "real": 0.05}


@dataclass(frozen=True, slots=True, eq=False)
class Specimen:
    """A good result with the picture it was made from."""

    name: str
    source: U8
    result: U8
    grid: TileGrid
    model: ModelUse

    def judge(self, result: U8) -> QualityReport:
        return score(
            Image(np.ascontiguousarray(self.source)),
            Image(np.ascontiguousarray(result)),
            settings=SETTINGS,
            tile_grid=self.grid,
            model=self.model,
        )


@dataclass(frozen=True, slots=True, eq=False)
class MatteSpecimen:
    """A drawing with its exact matte, and its own colours without the background's."""

    name: str
    source: U8
    foreground: U8
    alpha: U8

    def judge(self, alpha: U8) -> QualityReport:
        """Colours: the subject's where it is, else the source's, which a too wide matte brings along."""
        own = (self.alpha > 0)[..., None]
        cutout = Image(np.dstack([np.where(own, self.foreground, self.source), alpha]))
        return score(
            cutout, cutout, settings=SETTINGS, matte=MatteEvidence(Image(self.source), cutout), model=LANCZOS
        )


def defect_bench(options: Any) -> dict[str, Any]:
    """The tables of all groups; prints them."""
    groups = {
        "drawn, lanczos": [*drawn(options.drawn, "lanczos")],
        "drawn, drawn large": [*drawn(options.drawn, "large")],
        "real, lanczos": [*real(options, network=False)],
        "real, animevideov3": [*real(options, network=True)],
    }
    results: dict[str, Any] = {"clean": {}, "detected": {}}
    for group, specimens in groups.items():
        if not specimens:
            results["clean"][group] = {"skipped": "../shared with real pictures or weights is not there"}
            continue
        results["clean"][group] = _clean(group, specimens)
        results["detected"][group] = _detected(specimens[: options.planted], options.kinds)
    mattes = [*matte_specimens(options.matte_seeds)]
    results["clean"]["mattes"] = _clean("mattes", mattes)
    results["detected"]["mattes"] = _detected_mattes(mattes)
    _print_table(results["detected"])
    results["targets"] = _targets(results)
    return results


# ---------------------------------------------------------------- specimens


def drawn(count: int, kind: str) -> Iterator[Specimen]:
    """Half free drawings, half sample characters; ``kind``: enlarged by ``lanczos`` or drawn ``large``."""
    for number, high in enumerate(_large_drawings(count)):
        source = area(high, SCALE)
        result = enlarge(source, SCALE) if kind == "lanczos" else high
        model = LANCZOS if kind == "lanczos" else FAITHFUL
        yield Specimen(f"{kind} {number}", source, result, _grid(source), model)


def _large_drawings(count: int) -> Iterator[U8]:
    samples = (sample for seed in range(1000) for sample in _sample_pictures(seed))
    for number in range(count):
        if number % 2:
            # The samples are 350 to 512 px: as the large picture they would be of 100 px sources.
            yield enlarge(next(samples)[: CROP[1], : CROP[0]], SCALE)
        else:
            yield draw(100 + number, *CROP, SCALE)


def _sample_pictures(seed: int) -> Iterator[U8]:
    for drawing in draw_samples(seed):
        if drawing.image.pixels.dtype == np.uint8 and drawing.image.channels == 3:
            yield np.asarray(drawing.image.pixels, np.uint8)


def real(options: Any, *, network: bool) -> Iterator[Specimen]:
    """Crops of the real pictures of ``../shared``, enlarged by Lanczos or the network."""
    data = ROOT.parent / "shared"
    weights = data / "models" / NETWORK_WEIGHTS
    paths = [*sorted(data.glob("data/sr/*.png")), *sorted(data.glob("data/anime/*frame*.png"))]
    paths += sorted(data.glob("data/anime/*.jpg"))
    if not paths or (network and not weights.is_file()):
        return
    upscaler = _network(weights) if network else None
    for path in paths[: options.real]:
        for name, source in crops(path):
            if upscaler is None:
                yield Specimen(name, source, enlarge(source, SCALE), _grid(source), LANCZOS)
                continue
            result, grid = _kept(options.keep, name, source, upscaler)
            yield Specimen(name, source, result, grid, NETWORK)


def crops(path: Path) -> Iterator[tuple[str, U8]]:
    stored = opencv_decode(path.read_bytes())
    pixels = np.ascontiguousarray(stored[..., ::-1])
    width, height = CROP
    for top in range(0, pixels.shape[0] - height + 1, height):
        for left in range(0, pixels.shape[1] - width + 1, width):
            crop = pixels[top : top + height, left : left + width]
            yield f"{path.stem} {left},{top}", np.ascontiguousarray(crop)


def _network(weights: Path) -> Any:
    from imgpipe.upscaling.build import build_upscaler

    settings = UpscaleSettings(model=str(weights), scale=SCALE, tile_size=TILE_PX)
    return build_upscaler(settings, model_dir=weights.parent)


def _kept(folder: Path | None, name: str, source: U8, upscaler: Any) -> tuple[U8, TileGrid]:
    """The network's result, read from ``folder`` where an earlier run has left it."""
    path = folder / f"{name}.npz" if folder else None
    if path is not None and path.is_file():
        with np.load(path) as stored:
            grid = TileGrid(tuple(stored["xs"].tolist()), tuple(stored["ys"].tolist()), SCALE)
            return stored["pixels"], grid
    done = upscaler.upscale(Image(source))
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, pixels=done.image.pixels, xs=done.tile_grid.xs, ys=done.tile_grid.ys)
    return done.image.pixels, done.tile_grid


def _grid(source: U8) -> TileGrid:
    height, width = source.shape[:2]
    xs, ys = (tuple(range(TILE_PX, side - TILE_PX // 4, TILE_PX)) for side in (width, height))
    return TileGrid(xs, ys, float(SCALE))


def matte_specimens(seeds: int) -> Iterator[MatteSpecimen]:
    for seed in range(seeds):
        for drawing in draw_samples(seed):
            if _usable(drawing):
                yield MatteSpecimen(
                    f"{drawing.name} {seed}",
                    np.asarray(drawing.image.pixels, np.uint8),
                    np.asarray(drawing.foreground, np.uint8),
                    drawing.mask,
                )


def _usable(drawing: Drawing) -> bool:
    return drawing.image.channels == 3 and drawing.image.pixels.dtype == np.uint8


# ---------------------------------------------------------------- tables


def _clean(group: str, specimens: list[Any]) -> dict[str, Any]:
    """False alarms on the clean results, with the checks that made them."""
    reasons: Counter[str] = Counter()
    rejected = []
    for specimen in specimens:
        unharmed = specimen.alpha if isinstance(specimen, MatteSpecimen) else specimen.result
        report = specimen.judge(unharmed)
        if report.status is not Status.OK:
            rejected.append(specimen.name)
            reasons.update(check.name for check in report.failed)
    share = len(rejected) / len(specimens)
    print(f"clean, {group}: {len(rejected)} of {len(specimens)} rejected ({share:.1%}) {dict(reasons)}")
    return {"n": len(specimens), "share": share, "rejected": rejected, "checks": dict(reasons)}


def _detected(specimens: list[Specimen], kinds: list[str] | None) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for name, defect in DEFECTS.items():
        if kinds and name not in kinds:
            continue
        for level, strength in enumerate(defect.strengths):
            reports = {}
            for number, specimen in enumerate(specimens):
                damaged = plant(name, specimen.result, level, grid=specimen.grid, seed=number)
                if damaged is not None:
                    reports[specimen.name] = specimen.judge(damaged)
            table[f"{name} {strength:g} {defect.unit}"] = _row(reports)
    return table


def _detected_mattes(specimens: list[MatteSpecimen]) -> dict[str, Any]:
    return {
        f"{name} {strength:g}": _row(
            {specimen.name: specimen.judge(defect.plant(specimen.alpha, strength)) for specimen in specimens}
        )
        for name, defect in MATTE_DEFECTS.items()
        for strength in defect.strengths
    }


def _row(reports: dict[str, QualityReport]) -> dict[str, Any]:
    """``share``: rejected; ``told``: rejected or warned of; by which checks; what was missed."""
    checks: Counter[str] = Counter()
    for report in reports.values():
        checks.update(check.name for check in report.failed)
    missed = [name for name, report in reports.items() if report.status is Status.OK]
    told = sum(bool(report.failed) for report in reports.values())
    n = len(reports)
    return {
        "n": n,
        "share": (n - len(missed)) / n if n else None,
        "told": told / n if n else None,
        "checks": dict(checks.most_common(4)),
        "missed": missed,
    }


def _print_table(detected: dict[str, Any]) -> None:
    pictures = {group: table for group, table in detected.items() if group != "mattes"}
    names = list(dict.fromkeys(name for table in pictures.values() for name in table))
    print("\n" + f"{'defect':34}" + "".join(f"{group:>20}" for group in pictures))
    for name in names:
        cells = [table[name] for table in pictures.values()]
        print(f"{name:34}" + "".join(f"{_cell(cell):>20}" for cell in cells))
    print("\n" + f"{'matte defect':34}{'rejected':>12}{'told':>12}")
    for name, row in detected["mattes"].items():
        print(f"{name:34}{row['share']:>12.0%}{row['told']:>12.0%}")


def _cell(row: dict[str, Any]) -> str:
    return "-" if row["share"] is None else f"{row['share']:.0%} of {row['n']}"


def _targets(results: dict[str, Any]) -> dict[str, bool]:
    """What was promised, and whether it holds."""
    met: dict[str, bool] = {}
    clean = {group: row for group, row in results["clean"].items() if "share" in row}
    for kind, allowed in FALSE_ALARMS.items():
        rows = [row for group, row in clean.items() if group.startswith(kind)]
        if rows:
            share = sum(len(row["rejected"]) for row in rows) / sum(row["n"] for row in rows)
            met[f"false alarms, {kind}: {share:.1%}, allowed {allowed:.0%}"] = share <= allowed
    for group, table in results["detected"].items():
        for name, row in table.items():
            kind, strength = name.split()[:2]
            if group == "mattes" or row["share"] is None:
                continue
            level = [f"{value:g}" for value in DEFECTS[kind].strengths].index(strength)
            needed = 1.0 if level in ALWAYS.get(kind, ()) else SEAM_TARGET if kind == "seam" else None
            if needed is not None:
                met[f"{group}: {name}: {row['share']:.0%}, needed {needed:.0%}"] = row["share"] >= needed
    print("\ntargets not met:" if not all(met.values()) else "\nall targets met")
    for name, holds in met.items():
        if not holds:
            print(f"  {name}")
    return met
