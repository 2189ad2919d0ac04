"""The matting stage on real masks: a network of zero cost emits them, so that what follows it is measured.

The masks are those that five networks published for one picture (``../shared``), and those of ``--masks``, a
folder of grey PNGs, each named as its picture with ``.mask.png`` for the suffix. They stand for the network's
answer. Everything runs at one size, on one and on two threads in turns.
"""

from __future__ import annotations

import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from imgpipe.images.decode import decode
from imgpipe.images.image import Image
from imgpipe.matting.onnx_model import OnnxMatter
from imgpipe.records import ModelUse
from imgpipe.settings import LimitSettings, RembgSettings
from imgpipe.settings.contracts import CONTRACTS
from mattes.contenders import contenders

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
RIVAL = "rembg 240/10/10"
TARGET_MEDIAN, TARGET_WORST, TARGET_SCALING = 0.4, 1.0, 1.8


class _StoredNetwork:
    """Stands in for :class:`OnnxNetwork`: every picture gets the mask it was made with."""

    notes = ()

    def __init__(self, mask: np.ndarray[Any, Any]) -> None:
        self.contract, self.frame, self._mask = CONTRACTS["isnet-anime"], mask.shape, mask

    def most_together(self, shape: tuple[int, ...]) -> int:
        return 1

    def run(self, inputs: Any) -> list[Any]:
        return [self._mask for _ in inputs]


def measure(edge: int, masks: Path | None, repeat: int, rivals: int) -> dict[str, Any]:
    """Pictures a second of the stage, core seconds a megapixel of refinement and foreground per mask, and the
    rival's on the first ``rivals`` masks."""
    cv2.setNumThreads(1)
    pairs = _pairs(edge, masks)
    if not pairs:
        print("    real masks are not at hand (../shared)")
        return {}
    matters = {name: (Image(picture), _matter(mask)) for name, (picture, mask) in pairs.items()}
    seconds: dict[str, float] = dict.fromkeys(pairs, float("inf"))
    rates: dict[int, list[float]] = {1: [], 2: []}
    for image, matter in list(matters.values())[:2]:
        matter.matte(image)
    for _ in range(repeat):
        for name, (image, matter) in matters.items():
            spent = time.process_time()
            taken = matter.matte(image).seconds
            share = (taken["refine"] + taken["foreground"]) / max(sum(taken.values()), 1e-9)
            used = share * (time.process_time() - spent) / (edge * edge / 1e6)
            seconds[name] = min(seconds[name], used)
        for threads in (1, 2):
            rates[threads].append(_pictures_a_second(list(matters.values()), threads))
    rate = {threads: statistics.median(values) for threads, values in rates.items()}
    median, worst = statistics.median(seconds.values()), max(seconds.values())
    rival = {}
    for name, (picture, mask) in list(pairs.items())[:rivals]:
        spent = time.process_time()
        contenders()[RIVAL](picture, np.rint(mask * 255).astype(np.uint8))
        rival[name] = (time.process_time() - spent) / (edge * edge / 1e6)
    for name, value in seconds.items():
        print(
            f"    {name:<28}{value:7.2f} core s/MP"
            + (f", {RIVAL} {rival[name]:.2f}" if name in rival else "")
        )
    scaling = rate[2] / rate[1]
    print(f"    median {median:.2f}, worst {worst:.2f} (targets {TARGET_MEDIAN}, {TARGET_WORST})")
    print(f"    stage: {rate[1]:.2f} and {rate[2]:.2f} pictures/s on 1 and 2 threads, x {scaling:.2f}")
    met = median <= TARGET_MEDIAN and worst <= TARGET_WORST and scaling >= TARGET_SCALING
    return {
        "edge": edge,
        "core_seconds_per_megapixel": seconds,
        "median": median,
        "worst": worst,
        "rival_core_seconds_per_megapixel": rival,
        "pictures_a_second": {str(threads): value for threads, value in rate.items()},
        "scaling": scaling,
        "met": met,
    }


def _matter(mask: np.ndarray[Any, Any]) -> OnnxMatter:
    network: Any = _StoredNetwork(mask)
    return OnnxMatter(network, RembgSettings(), ModelUse("stored", "none"))


def _pictures_a_second(work: list[tuple[Image, OnnxMatter]], threads: int) -> float:
    """``work`` twice, so that the last picture, which has no neighbour, counts half as much."""
    begin = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda pair: pair[1].matte(pair[0]), 2 * work))
    return 2 * len(work) / (time.perf_counter() - begin)


def _pairs(edge: int, masks: Path | None) -> dict[str, tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
    files = {path.stem: path for path in sorted((DATA / "mattes").glob("*.png"))}
    if masks is not None:
        files |= {path.name.removesuffix(".png"): path for path in sorted(masks.glob("*.mask.png"))}
    pairs = {}
    for name, path in files.items():
        picture = next(
            (
                file
                for place in ("anime", "real", "sr")
                for file in (DATA / place).glob(f"{name.split('.')[0]}.*")
            ),
            None,
        )
        mask = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if picture is None or mask is None:
            continue
        colour = decode(picture.read_bytes(), name=picture.name, limits=LimitSettings()).pixels[..., :3]
        plane = (mask if mask.ndim == 2 else mask[..., -1]).astype(np.float32) / np.float32(255)
        pairs[name] = (
            cv2.resize(np.ascontiguousarray(colour), (edge, edge), interpolation=cv2.INTER_CUBIC),
            cv2.resize(plane, (edge, edge), interpolation=cv2.INTER_LINEAR),
        )
    return pairs
