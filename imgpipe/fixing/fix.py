"""The recipe: look at the picture, then undo too few levels, JPEG and noise, each only where it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from imgpipe.fixing import deband, smooth
from imgpipe.fixing.clean_network import CleanNetwork, strength_of
from imgpipe.fixing.findings import Findings, examine, measures
from imgpipe.fixing.pieces import PIECE_PX, colour_at, pieces, planes_at, rgb_change
from imgpipe.fixing.sliding_dct import Float
from imgpipe.images.image import Image
from imgpipe.pixels.strips import spans

_BLENDED_ROWS = 256
#: A picture to the same one without its damage, of the same size and channels.
Restore = Callable[[Image], Image]


@dataclass(frozen=True, slots=True, eq=False)
class Fixed:
    """``image``: the same object where nothing was done. ``details``: what was found and done, for
    quality.json. ``seconds``: time by step."""

    image: Image
    details: Mapping[str, Any]
    seconds: Mapping[str, float] = field(default_factory=dict)


def fix(
    image: Image,
    strength: float,
    restore: Restore | CleanNetwork | None = None,
    *,
    piece_px: int = PIECE_PX,
) -> Fixed:
    """``image`` with less of JPEG's blocks, of steps in gradients and of noise; nothing else is touched.

    ``strength``: 0..1; 0 changes nothing, 0.5 undoes the damage that is found, 1 twice as much. ``restore``:
    a network in place of deblocking and denoising, which every picture goes through; below 0.5 its result is
    blended with the picture. `imgpipe-clean` is told the quality that was found; its change and that of
    deblocking are averaged, and noisy pictures are left to the filters. ``piece_px``: a multiple of 16; has
    no effect on the result.

    Alpha, colours of transparent pixels, bit depth and metadata stay.
    """
    if strength == 0:
        return Fixed(image, {"strength": 0.0, "done": []})
    begin = time.perf_counter()
    found = examine(image)
    examined = time.perf_counter()
    result, done = image, []
    if any(found.levels):
        result = _debanded(result, found, strength, piece_px)
        done.append("debanded")
    if restore is not None and not isinstance(restore, CleanNetwork):
        result = _blended(result, restore(result), min(1.0, 2 * strength))
        done.append("network")
    elif found.damage:
        network = None
        if restore is not None and found.quality is not None and not any(found.damage.sigmas):
            network = partial(restore.change, strength=strength_of(found.quality, 2 * strength))
        result = _smoothed(result, found, strength, piece_px, network)
        done += ["deblocked"] if found.quality is not None else []
        done += ["denoised"] if any(found.damage.sigmas) else []
        done += ["network"] if network is not None else []
    fixed = time.perf_counter()
    before = measures(image, found.damage.offset)
    after = measures(result, found.damage.offset) if done else before
    details = {
        "strength": strength,
        **found.as_dict(),
        **{name: {"before": round(before[name], 5), "after": round(after[name], 5)} for name in before},
        "done": done,
    }
    seconds = {"examine": examined - begin, "fix": fixed - examined}
    return Fixed(replace(result, jpeg=None) if done else image, details, seconds)


def _debanded(image: Image, found: Findings, strength: float, piece_px: int) -> Image:
    pixels = image.pixels.copy()
    for inner, outer, within in pieces(image, deband.REACH_PX, piece_px):
        corner = outer[0].start, outer[1].start
        for channel, levels in enumerate(found.levels):
            if levels is not None:
                piece = deband.debanded(image.pixels[(*outer, channel)], levels, strength, corner)
                pixels[(*inner, channel)] = piece[within]
    return _without_hidden(image, pixels)


def _smoothed(
    image: Image,
    found: Findings,
    strength: float,
    piece_px: int,
    network: Callable[[Float], Float] | None,
) -> Image:
    pixels = image.pixels.copy()
    channels = image.colour.shape[2]
    for inner, outer, within in pieces(image, smooth.REACH_PX, piece_px):
        before = planes_at(image, outer)
        after = smooth.smoothed(before, found.damage, strength)
        change = rgb_change([p[within] for p in before], [p[within] for p in after])
        if network is not None:  # The errors of both are of different kinds: their mean has less.
            change = (change + network(colour_at(image, outer))[within]) * np.float32(0.5)
        values = image.colour[inner] + change * np.float32(image.max_value / 255)
        pixels[(*inner, slice(0, channels))] = np.clip(np.rint(values), 0, image.max_value)
    return _without_hidden(image, pixels)


def _blended(image: Image, restored: Image, share: float) -> Image:
    pixels, channels = image.pixels.copy(), image.colour.shape[2]
    for rows in spans(0, image.height, _BLENDED_ROWS):
        change = restored.colour[rows].astype(np.float32) - image.colour[rows]
        pixels[rows, :, :channels] = np.rint(image.colour[rows] + change * np.float32(share))
    return _without_hidden(image, pixels)


def _without_hidden(image: Image, pixels: Any) -> Image:
    """``pixels`` with the colours below full transparency as they were."""
    if image.alpha is not None:
        np.copyto(pixels, image.pixels, where=(image.alpha == 0)[..., None])
    return replace(image, pixels=pixels)
