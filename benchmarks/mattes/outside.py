"""Which mattes the verdict rejects: labelled ones of real networks, exact, truly soft and damaged ones.

Called by ``benchmarks/quality.py --outside``. Half of the pictures and subjects, chosen by the hash of their
names, were in view when the thresholds were set; the other half is the unseen part, reported on its own. Real
mattes are those of ``labels.csv``: published ones from ``../shared``, and those of ``--mattes``, a folder
of grey PNGs named PICTURE.MATTE.png (``python -m mattes.outside --weights isnet.onnx FOLDER`` makes it).
"""

from __future__ import annotations

import argparse
import csv
import sys
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from worst import WorstPage  # noqa: E402

from imgpipe.images.image import Image  # noqa: E402
from imgpipe.quality.report import QualityReport, Severity  # noqa: E402
from imgpipe.quality.score import MatteEvidence, score  # noqa: E402
from imgpipe.records import Status  # noqa: E402
from imgpipe.settings import QualitySettings  # noqa: E402
from imgpipe_tests.opencv_files import opencv_read  # noqa: E402
from mattes.cases import DRAWN_CHARACTERS, Pixels, _drawn, make_cases  # noqa: E402
from mattes.damage import DAMAGE  # noqa: E402
from mattes.soft import EDGE, _levels, composed, soft_pictures  # noqa: E402
from training.samples.drawings import draw_samples  # noqa: E402

DATA = ROOT.parent / "shared" / "data"
#: Groups that must pass, and those of which neither is wrong; every other group must not pass.
CLEAN = ("exact", "real good", "soft ", "eroded/1", "eroded/2")
NEITHER = ("real fair", "haze", "fading_haze")
_NOTHING = Image(np.zeros((16, 16, 3), np.uint8))
_HOSTS_EVERY = 4


@dataclass(frozen=True, slots=True, eq=False)
class Specimen:
    """``key``: what decides the part that it belongs to."""

    group: str
    name: str
    key: str
    picture: Pixels
    alpha: Pixels

    @property
    def part(self) -> str:
        return "unseen" if zlib.crc32(self.key.encode()) % 2 else "seen"

    def judge(self) -> QualityReport:
        """The matte's part of the verdict."""
        picture = np.ascontiguousarray(self.picture)
        cutout = Image(np.dstack([picture, self.alpha]))
        evidence = MatteEvidence(Image(picture), cutout)
        return score(_NOTHING, _NOTHING, settings=QualitySettings(), matte=evidence)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Per part and group: rejected and told of, with 95% intervals (Wilson) and the checks that saw it."""
    found: dict[tuple[str, str], list[tuple[str, QualityReport]]] = {}
    worst = WorstPage(options.worst)
    for specimen in specimens(options.mattes, options.quick):
        if options.part in ("both", specimen.part):
            reports = found.setdefault((specimen.part, specimen.group), [])
            report = specimen.judge()
            reports.append((specimen.name, report))
            clean = specimen.group.startswith(CLEAN)
            slight = not clean and specimen.group.endswith("/1")
            if not slight and not specimen.group.startswith(NEITHER):
                cutout = np.dstack([specimen.picture, specimen.alpha])
                worst.add(specimen.group, specimen.name, clean, report, specimen.picture, cutout)
    worst.write()
    results: dict[str, Any] = {}
    for (part, group), reports in sorted(found.items()):
        results.setdefault(part, {})[group] = _row(reports)
    for part, rows in results.items():
        print(f"\nmattes, {part} part" + f"{'n':>26}{'rejected':>10}{'95%':>12}{'told':>6}  by")
        for group, row in rows.items():
            low, high = (round(100 * share) for share in row["interval"])
            by = ", ".join(f"{name} {count}" for name, count in row["checks"].items())
            counts = f"{row['n']:>5}{row['rejected']:>10}{f'{low}..{high}%':>12}{row['told']:>6}"
            print(f"  {group:<38}{counts}  {by}")
    return results


def _row(reports: list[tuple[str, QualityReport]]) -> dict[str, Any]:
    rejected = [name for name, report in reports if report.status is Status.REJECTED]
    told = [
        name
        for name, report in reports
        if any(check.severity is not Severity.INFO for check in report.failed)
    ]
    checks = Counter(
        ("" if check.severity is Severity.ERROR else f"{check.severity} ") + check.name
        for _, report in reports
        for check in report.failed
    )
    names = [name for name, _ in reports]
    return {
        "n": len(reports),
        "rejected": len(rejected),
        "interval": wilson(len(rejected), len(reports)),
        "told": len(told),
        "checks": dict(checks.most_common(5)),
        "names_rejected": rejected,
        "names_passed": [name for name in names if name not in rejected],
    }


def wilson(hits: int, n: int) -> tuple[float, float]:
    """The 95% interval of a share (Wilson 1927)."""
    z, share = 1.96, hits / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))


def specimens(folder: Path | None, quick: bool) -> Iterator[Specimen]:
    clean = [*exact(quick), *real(folder)]
    yield from clean
    photographs = list(photographs_of().values())
    for kind, name, picture, alpha in soft_pictures(1 if quick else 8, photographs):
        yield Specimen(f"soft {kind}", name, name.split(" over ")[0], picture, alpha)
    drawn = [one for one in clean if one.group == "exact"]
    hosts = drawn[:: len(drawn) if quick else _HOSTS_EVERY]
    hosts += [one for one in clean if one.group == "real good"]
    for number, host in enumerate(hosts):
        for kind, plant in DAMAGE.items():
            for level in range(3):
                rng = np.random.default_rng([number, level, len(kind)])
                damaged = plant(host.picture, host.alpha, level, rng)
                if damaged is not None:
                    yield Specimen(f"{kind}/{level + 1}", host.name, host.key, host.picture, damaged)


def exact(quick: bool) -> Iterator[Specimen]:
    """Drawings and views of a real picture, with exact mattes."""
    for seed in range(1 if quick else 2):
        for drawing in draw_samples(seed):
            if drawing.image.channels == 3 and drawing.image.pixels.dtype == np.uint8:
                name = f"{drawing.name} {seed}"
                picture = np.asarray(drawing.image.pixels, np.uint8)
                yield Specimen("exact", name, name, picture, drawing.mask)
    if quick:
        return
    for case in make_cases(448):
        yield Specimen("exact", case.name, case.subject, case.picture, _levels(case.alpha))
    photographs = list(photographs_of().values())
    for number in range(1, DRAWN_CHARACTERS + 1 if photographs else 1):
        alpha, colour = _drawn(number, EDGE)
        name = f"drawn-{number} over real"
        picture = composed(alpha, colour, "real", name, photographs)
        yield Specimen("exact", name, f"drawn-{number}", picture, _levels(alpha))


def real(folder: Path | None) -> Iterator[Specimen]:
    """Mattes of real networks that ``labels.csv`` calls good, fair or bad."""
    photographs = photographs_of()
    with (Path(__file__).parent / "labels.csv").open(newline="") as table:
        for row in csv.DictReader(table):
            name = f"{row['picture']}.{row['matte']}"
            places = [DATA / "mattes", DATA / "anime", *([folder] if folder else [])]
            files = [place / f"{name}.png" for place in places if (place / f"{name}.png").is_file()]
            if files and row["picture"] in photographs:
                stored = opencv_read(files[0], cv2.IMREAD_UNCHANGED)
                alpha = np.asarray(stored if stored.ndim == 2 else stored[..., 3], np.uint8)
                picture = view(photographs[row["picture"]], row["matte"])
                yield Specimen(f"real {row['label']}", name, row["picture"], picture, alpha)


def photographs_of() -> dict[str, Pixels]:
    """The real pictures by stem, RGB."""
    paths = [path for place in ("real", "anime", "sr") for path in sorted((DATA / place).glob("*"))]
    return {
        path.stem: np.asarray(opencv_read(path, cv2.IMREAD_COLOR)[..., ::-1], np.uint8)
        for path in paths
        if ".isnet" not in path.name
    }


def view(picture: Pixels, name: str) -> Pixels:
    """The part of a picture that a matte of this name in ``labels.csv`` was made for."""
    height, width = (round(0.65 * side) for side in picture.shape[:2])
    views: dict[str, Any] = {
        "left": np.s_[:, :width],
        "right": np.s_[:, picture.shape[1] - width :],
        "upper": np.s_[:height],
        "mirror": np.s_[:, ::-1],
    }
    return np.ascontiguousarray(picture[views[name]] if name in views else picture)


def make_real(weights: Path, folder: Path) -> None:
    """The stage's mattes of every picture and view by IS-Net's anime weights, as grey PNGs."""
    from imgpipe.matting.build import build_matter
    from imgpipe.settings import RembgSettings
    from imgpipe.settings.contracts import CONTRACTS

    folder.mkdir(parents=True, exist_ok=True)
    for way, names in (("author", ("whole", "mirror", "left", "right", "upper")), ("rembg", ("rembgfeed",))):
        settings = RembgSettings(model=str(weights), contract=CONTRACTS["isnet-anime"], preprocess=way)
        matter = build_matter(settings, model_dir=weights.parent)
        for stem, picture in photographs_of().items():
            for name in names:
                alpha = matter.matte(Image(view(picture, name))).alpha
                cv2.imwrite(str(folder / f"{stem}.{name}.png"), _levels(alpha))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="makes the real mattes that labels.csv names")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    make_real(arguments.weights, arguments.folder)
