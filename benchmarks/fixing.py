"""Fixing beside OpenCV's non-local means and bilateral filter, on pictures that were damaged on purpose.

    python benchmarks/fixing.py --quick         two drawings, one quality, strengths 0 and 0.5
    python benchmarks/fixing.py                 all pictures: about ten minutes on two cores
    python benchmarks/fixing.py --network       imgpipe-clean beside the package's filters, real pictures

Every picture is damaged: as a JPEG of quality 20 to 80 with halved and whole chroma, reduced to 5 and 6 bits,
with noise of 5 and 10 of 255. Pictures of even place in the list are for tuning: on them each peer's best
parameters are chosen from a grid, by mean PSNR, for each kind of damage. Figures are of those of odd place.

PSNR (RGB) and SSIM (scikit-image, Gaussian window) against the undamaged picture. Blockiness: mean squared
step of the luma across the borders of 8x8 blocks over that elsewhere (Yim and Bovik 2011, D_B over its
complement). Banding: share of neighbouring pixels, where the undamaged luma spans at most 4 of 255 in 5x5 px,
that differ by 1.5 more than there. Edges: energy of the Sobel gradient where it is strong in the undamaged
drawing, over that of the undamaged one.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import machine
import numpy as np
import numpy.typing as npt
from skimage.metrics import structural_similarity
from upscaling_contenders import in_turns

from imgpipe.fixing.clean_network import CleanNetwork
from imgpipe.fixing.fix import fix
from imgpipe.images.colour import composite_over
from imgpipe.images.decode import decode
from imgpipe.images.image import Image
from imgpipe.inference.weights import locate
from imgpipe.settings import LimitSettings
from training.samples.drawings import draw_samples

Rgb = npt.NDArray[np.uint8]
Way = Callable[[Image], Rgb]
DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
_FILES = (
    "anime/frame-000.png",
    "sr/anime-041.png",
    "sr/anime-186.png",
    "sr/anime-277.png",
    "real/comic.png",
    "real/apisr-image-00542.png",
    "anime/frame-048.png",
    "real/esrgan-OST_009.png",
)
_DRAWINGS = 6
_EDGE_PX = 512
STRENGTHS = (0.0, 0.25, 0.5, 1.0)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two drawings, one quality, two strengths")
    parser.add_argument("--output", type=Path, help="JSON file; default: benchmarks/results/")
    parser.add_argument("--network", action="store_true", help="imgpipe-clean instead of OpenCV's filters")
    options = parser.parse_args(arguments)
    if options.network:
        return _network(options.output)
    pictures = _pictures((), 2) if options.quick else _pictures()
    pictures = {name: _middle(pixels, 96 if options.quick else _EDGE_PX) for name, pixels in pictures.items()}
    names = list(pictures)
    tuning, held = names[::2], names[1::2]
    strengths = (0.0, 0.5) if options.quick else STRENGTHS
    results: dict[str, Any] = {
        "machine": machine.describe(opencv=cv2.__version__),
        "tuning": tuning,
        "held_out": held,
        "damage": {},
    }
    for kind, damage in _damages(quick=options.quick).items():
        damaged = {name: damage(pictures[name]) for name in pictures}
        ways: dict[str, Way] = {f"imgpipe {one}": partial(_fixed, strength=one) for one in strengths}
        peers: dict[str, Any] = {}
        for peer, tried in (("nlm", _NLM), ("bilateral", _BILATERAL)):
            means = [np.mean([_psnr(way(damaged[n]), pictures[n]) for n in tuning]) for way in tried.values()]
            peers[f"{peer} parameters"] = list(tried)[int(np.argmax(means))]
            ways[peer] = tried[peers[f"{peer} parameters"]]
        results["damage"][kind] = peers | _kind(kind, damaged, {name: pictures[name] for name in held}, ways)
    results["clean"] = {name: _psnr(_fixed(Image(pictures[name]), 0.5), pictures[name]) for name in names}
    results["targets"] = _targets(results)
    for target, (value, met) in results["targets"].items():
        print(f"{'met   ' if met else 'MISSED'} {target}: {value:.3f}")
    machine.keep(
        results, "fixing", machine.slug(machine.cpu_name(), os.cpu_count(), "threads"), options.output
    )
    return 0


def _pictures(files: Sequence[str] = _FILES, drawings: int = _DRAWINGS) -> dict[str, Rgb]:
    """Name -> RGB, crops of the middle; drawings first."""
    found = {}
    for drawing in draw_samples()[:drawings]:
        flat = composite_over(drawing.image, (1.0, 1.0, 1.0))
        found[f"drawn/{drawing.name}"] = np.rint(flat * 255).astype(np.uint8)
    for name in files:
        if (DATA / name).is_file():
            image = decode((DATA / name).read_bytes(), name=name, limits=LimitSettings())
            found[name] = np.ascontiguousarray(image.colour)
    return found


def _middle(pixels: Rgb, edge: int) -> Rgb:
    top, left = (max(0, (side - edge) // 2) for side in pixels.shape[:2])
    return np.ascontiguousarray(pixels[top : top + edge, left : left + edge])


def _damages(*, quick: bool) -> dict[str, Callable[[Rgb], Image]]:
    qualities = (30,) if quick else (20, 30, 50, 80)
    chromas = ("420",) if quick else ("420", "444")
    found: dict[str, Callable[[Rgb], Image]] = {}
    for quality, chroma in itertools.product(qualities, chromas):
        found[f"jpeg q{quality} {chroma}"] = partial(_jpeg, quality=quality, chroma=chroma)
    for bits in (5,) if quick else (5, 6):
        found[f"{bits} bits"] = partial(_reduced, bits=bits)
    for sigma in () if quick else (5, 10):
        found[f"noise {sigma}"] = partial(_noisy, sigma=sigma)
    return found


def _jpeg(rgb: Rgb, quality: int, chroma: str) -> Image:
    sampling = (
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420 if chroma == "420" else cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
    )
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
    done, data = cv2.imencode(".jpg", rgb[..., ::-1], options)
    assert done
    return decode(data.tobytes(), name="damaged.jpg", limits=LimitSettings())


def _reduced(rgb: Rgb, bits: int) -> Image:
    """The highest bits, repeated below, as displays show them."""
    kept = rgb >> (8 - bits) << (8 - bits)
    return Image(np.asarray(kept | kept >> bits, np.uint8))


def _noisy(rgb: Rgb, sigma: float) -> Image:
    noise = np.random.default_rng(0).normal(0, sigma, rgb.shape)
    return Image(np.clip(np.rint(rgb + noise), 0, 255).astype(np.uint8))


def _kind(
    kind: str, damaged: dict[str, Image], pictures: dict[str, Rgb], ways: dict[str, Way]
) -> dict[str, Any]:
    """Mean scores of the damaged pictures and of every way, and each picture's PSNR."""
    found: dict[str, Any] = {}
    for way, make in {"damaged": _pixels, **ways}.items():
        made = {name: make(damaged[name]) for name in pictures}
        scores = [_scores(made[name], pictures[name]) for name in pictures]
        found[way] = {key: float(np.mean([one[key] for one in scores])) for key in scores[0]}
        drawn = [_edges(made[name], pictures[name]) for name in pictures if name.startswith("drawn/")]
        found[way]["edges"] = float(np.mean(drawn)) if drawn else None
        found[way]["psnr of each"] = [round(one["psnr"], 3) for one in scores]
        shown = "  ".join(
            f"{key} {value:.4g}" for key, value in found[way].items() if isinstance(value, float)
        )
        print(f"{kind:<14}{way:<20}{shown}", flush=True)
    return found


def _pixels(image: Image) -> Rgb:
    return np.asarray(image.pixels, np.uint8)


def _fixed(image: Image, strength: float, network: CleanNetwork | None = None) -> Rgb:
    return _pixels(fix(image, strength, network).image)


def _network(output: Path | None) -> int:
    """On all real pictures, as JPEG with halved chroma: what is not JPEG's is left to the filters."""
    network = CleanNetwork(locate("imgpipe-clean", "fixing", Path()), "cpu")
    files = sorted(path for folder in ("anime", "sr", "real") for path in (DATA / folder).iterdir())
    real = [f"{path.parent.name}/{path.name}" for path in files if "isnet" not in path.name]
    pictures = {name: _middle(pixels, _EDGE_PX) for name, pixels in _pictures(real, 0).items()}
    ways: dict[str, Way] = {"imgpipe 0.5": partial(_fixed, strength=0.5)}
    ways |= {f"imgpipe-clean {one}": partial(_fixed, strength=one, network=network) for one in (0.25, 0.5)}
    results: dict[str, Any] = {"machine": machine.describe(), "pictures": list(pictures), "damage": {}}
    for quality in (20, 30, 50, 85):
        damaged = {name: _jpeg(pixels, quality, "420") for name, pixels in pictures.items()}
        kind = f"jpeg q{quality} 420"
        results["damage"][kind] = _kind(kind, damaged, pictures, ways)
    results["untouched at 0.25"] = {
        name: _psnr(np.rint((rgb + network.change(rgb.astype(np.float32), 0.25)).clip(0, 255)), rgb)
        for name, rgb in pictures.items()
    }
    print(results["untouched at 0.25"])
    results["seconds per megapixel"] = {
        way: seconds * 1e6 / _EDGE_PX**2
        for way, seconds in in_turns(
            {way: partial(ways[way], _jpeg(pictures[real[0]], 30, "420")) for way in list(ways)[:2]}, 5
        ).items()
    }
    print(results["seconds per megapixel"])
    machine.keep(results, "fixing-network", machine.slug(machine.cpu_name()), output)
    return 0


def _nlm(image: Image, luma: float, colour: float) -> Rgb:
    return np.asarray(cv2.fastNlMeansDenoisingColored(_pixels(image), None, luma, colour, 7, 21), np.uint8)


def _bilateral(image: Image, levels: float, space_px: float) -> Rgb:
    return np.asarray(cv2.bilateralFilter(_pixels(image), -1, levels, space_px), np.uint8)


#: h and hColor.
_NLM = {at: partial(_nlm, luma=at[0], colour=at[1]) for at in itertools.product((2, 3, 4, 6, 8), (3, 6, 10))}
#: Standard deviation of the range, and of space in px.
_BILATERAL = {
    at: partial(_bilateral, levels=at[0], space_px=at[1])
    for at in itertools.product((6, 10, 16, 24, 36), (1.5, 3.0))
}


def _scores(result: Rgb, truth: Rgb) -> dict[str, float]:
    ssim = structural_similarity(
        truth, result, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    return {
        "psnr": _psnr(result, truth),
        "ssim": float(ssim),
        "blockiness": _blockiness(_luma(result)),
        "banding": _banding(_luma(result), _luma(truth)),
    }


def _psnr(result: npt.NDArray[Any], truth: Rgb) -> float:
    """dB; 99 for equal pictures."""
    error = float(np.mean((result.astype(np.float64) - truth) ** 2))
    return 99.0 if error == 0 else float(10 * np.log10(255**2 / error))


def _luma(rgb: Rgb) -> npt.NDArray[np.float64]:
    return np.asarray(rgb @ np.array([0.299, 0.587, 0.114]), np.float64)


def _blockiness(luma: npt.NDArray[np.float64]) -> float:
    steps = np.diff(luma, axis=1) ** 2
    border = np.arange(steps.shape[1]) % 8 == 7
    return float(steps[:, border].mean() / max(steps[:, ~border].mean(), 1e-9))


def _banding(luma: npt.NDArray[np.float64], truth: npt.NDArray[np.float64]) -> float:
    kernel = np.ones((5, 5), np.uint8)
    smooth = cv2.dilate(truth, kernel) - cv2.erode(truth, kernel) <= 4  # 1 of 255 per px over 5 px
    false = [np.abs(np.diff(luma, axis=axis)) - np.abs(np.diff(truth, axis=axis)) > 1.5 for axis in (0, 1)]
    places = smooth[1:], smooth[:, 1:]
    count = sum(int((one & place).sum()) for one, place in zip(false, places, strict=True))
    return count / max(1, sum(int(place.sum()) for place in places))


def _edges(result: Rgb, truth: Rgb) -> float:
    """Energy of the gradient at strong edges, over the undamaged picture's."""

    def energy(rgb: Rgb) -> npt.NDArray[np.float64]:
        luma = _luma(rgb)
        rises = (cv2.Sobel(luma, cv2.CV_64F, *by) for by in ((1, 0), (0, 1)))
        return np.asarray(sum(one**2 for one in rises), np.float64)

    true = energy(truth)
    strong = true > 100.0**2
    return float(energy(result)[strong].sum() / max(true[strong].sum(), 1e-9))


def _targets(results: dict[str, Any]) -> dict[str, tuple[float, bool]]:
    damage = results["damage"]
    found: dict[str, tuple[float, bool]] = {}
    q30 = [one for kind, one in damage.items() if kind.startswith("jpeg q30")]
    gain = float(np.mean([one["imgpipe 0.5"]["psnr"] - one["damaged"]["psnr"] for one in q30]))
    peer = float(np.mean([max(one["nlm"]["psnr"], one["bilateral"]["psnr"]) for one in q30]))
    lead = float(np.mean([one["imgpipe 0.5"]["psnr"] for one in q30])) - peer
    found["q30: gain of at least 0.6 dB"] = (gain, gain >= 0.6)
    found["q30: at least 0.3 dB above the better peer"] = (lead, lead >= 0.3)
    for kind in (kind for kind in damage if kind.endswith("bits")):
        left = damage[kind]["imgpipe 0.5"]["banding"] / max(damage[kind]["damaged"]["banding"], 1e-9)
        found[f"{kind}: banding at most half"] = (left, left <= 0.5)
    least = min(results["clean"].values())
    found["clean pictures: at least 55 dB"] = (least, least >= 55)
    edges = [one["imgpipe 0.5"]["edges"] / one["damaged"]["edges"] for one in q30]
    found["q30: edges of drawings within 2% of the damaged file's"] = (
        float(np.mean(edges)),
        max(abs(one - 1) for one in edges) <= 0.02,
    )
    return found


if __name__ == "__main__":
    sys.exit(main())
