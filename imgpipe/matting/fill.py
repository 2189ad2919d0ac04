"""Closes holes inside confident subjects, where the picture's colours speak for it.

A hole is a connected region that the mask does not call certainly subject and from which every path to the
picture's border crosses what it does. It is left as it is

- where half of it has colours that are seen outside the subject too: background in an arm's loop;
- where its colours are neither those of the outside nor of the subject, the mask takes it rather for
  background, and the outside is more than one smooth surface: another thing may stand behind;
- where it may be translucent (glass, a veil): its colours are neither, and they are mixtures, by the mask's
  own alpha, of colours outside and one tint.

A region that reaches the picture's border, or the outside through the smallest gap, is no hole.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import cKDTree

from imgpipe.images.image import Image, Pixels
from imgpipe.matting.border import EXPLAINED, fit_border, to_lab
from imgpipe.matting.matte import Alpha, CoarseMatte
from imgpipe.matting.source_alpha import visible_of
from imgpipe.matting.trimap import Mask
from imgpipe.pixels.strips import spans
from imgpipe.settings import RembgSettings

#: Colours are compared in cubes of 8 levels of each channel.
_BITS = 5
_COLOURS = 1 << 3 * _BITS
#: A colour is seen somewhere from this share of its pixels on (and never for fewer than ``_LEAST_PX``).
_SEEN, _LEAST_PX = 1e-4, 3
#: Colours nearer than this (CIE76) are one.
_SAME = 8.0
#: A hole is background from this share of its colours outside, and opaque from this share in the subject.
_BACKGROUND, _SUBJECT = 0.5, 0.5
#: From this mean alpha on the mask takes a hole rather for subject.
_LEANS = 0.5
#: The outside is one smooth surface that explains this share of it, at a longer side of some so many px.
_EXPLAINED, _PLAIN_PX = 0.95, 256
#: Translucent: this share of its colours are mixtures, within this error of 0..1, at an alpha between these.
_MIXED, _MIXING_ERROR, _TRANSLUCENT = 0.8, 0.06, (0.1, 0.9)
_SAMPLES, _GROUNDS = 24, 32
_STRIP_ROWS = 64

Codes = npt.NDArray[np.uint16]
Labels = npt.NDArray[np.int32]
Numbers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Filling:
    """What became of the holes. ``threshold``: alpha (0..1) above which a pixel is certainly subject;
    ``filled_share``: part of the picture; ``holes`` = ``filled`` + ``background`` + ``translucent`` +
    ``unjudged`` (no background outside to compare with)."""

    threshold: float
    holes: int
    filled: int = 0
    background: int = 0
    translucent: int = 0
    unjudged: int = 0
    filled_share: float = 0.0


def fill_solid(image: Image, coarse: CoarseMatte, settings: RembgSettings) -> CoarseMatte:
    """``coarse`` with its holes closed; ``details["fill"]`` is the :class:`Filling`."""
    limits = settings.background_threshold / 255, settings.foreground_threshold / 255
    alpha, filling = filled(visible_of(image), coarse.alpha, *limits)
    return replace(
        coarse,
        alpha=alpha,
        metrics={**coarse.metrics, "filled_share": filling.filled_share},
        details={**coarse.details, "fill": asdict(filling)},
    )


def filled(colour: Pixels, alpha: Alpha, low: float, high: float) -> tuple[Alpha, Filling]:
    """``alpha``, float32 (height, width) 0..1, with 1 in the holes that are filled.

    ``colour``: sRGB (height, width, 3), uint8 or uint16. Up to ``low`` alpha is certainly background, above
    ``high`` certainly subject.
    """
    count, found, boxes, _ = cv2.connectedComponentsWithStats(
        np.asarray(alpha <= high).astype(np.uint8), connectivity=4
    )
    labels, stats = np.asarray(found, np.int32), np.asarray(boxes, np.int32)
    reaching = np.zeros(count, bool)
    for side in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        reaching[side] = True
    reaching[0] = True  # what is certainly subject
    holes = np.flatnonzero(~reaching)
    outside = reaching[labels] & (alpha < low)
    if not holes.size or not outside.any():
        return alpha, Filling(high, int(holes.size), unjudged=int(holes.size))
    background, translucent = _left(colour, alpha, labels, stats, holes, outside, high)
    chosen = np.zeros(count, bool)
    chosen[holes[~background & ~translucent]] = True
    solid = chosen[labels]
    return np.where(solid, np.float32(1), alpha), Filling(
        threshold=high,
        holes=int(holes.size),
        filled=int(np.count_nonzero(chosen)),
        background=int(np.count_nonzero(background)),
        translucent=int(np.count_nonzero(translucent)),
        filled_share=float(solid.mean()),
    )


def _left(
    colour: Pixels,
    alpha: Alpha,
    labels: Labels,
    stats: Labels,
    holes: Numbers,
    outside: Mask,
    high: float,
) -> tuple[Flags, Flags]:
    """Which holes are left as background, and which as translucent."""
    codes = _codes(colour)
    seen_outside, seen_inside = _seen(codes[outside]), _seen(codes[labels == 0])
    is_outside = _near(seen_outside)
    if (
        is_outside[codes[outside]].mean() < _BACKGROUND
    ):  # Of noise no colour is typical: all may be background.
        return np.ones(holes.size, bool), np.zeros(holes.size, bool)
    core = _cores(alpha, labels, holes, high)
    background = _share(core, labels, codes, is_outside, holes) >= _BACKGROUND
    strange = ~background & (_share(core, labels, codes, _near(seen_inside), holes) < _SUBJECT)
    if strange.any() and not _plain(colour, outside):
        means = ndimage.mean(alpha, np.where(core, labels, 0), holes)
        background |= strange & (np.asarray(means) < _LEANS)
    translucent = np.zeros(holes.size, bool)
    for number in np.flatnonzero(strange & ~background):
        x, y, width, height, _ = stats[holes[number]]
        window = slice(y, y + height), slice(x, x + width)
        here = core[window] & (labels[window] == holes[number])
        translucent[number] = _translucent(codes[window][here], alpha[window][here], seen_outside)
    return background, translucent


def _codes(colour: Pixels) -> Codes:
    shift = 8 * colour.dtype.itemsize - _BITS
    codes = np.empty(colour.shape[:2], np.uint16)
    for rows in spans(0, colour.shape[0], _STRIP_ROWS):
        red, green, blue = (colour[rows, :, channel].astype(np.uint16) >> shift for channel in range(3))
        codes[rows] = red << 2 * _BITS | green << _BITS | blue
    return codes


def _rgb(codes: npt.NDArray[np.integer]) -> Floats:
    """Middles of the cubes, (n, 3) 0..1."""
    levels = np.stack([codes >> 2 * _BITS, codes >> _BITS, codes], axis=-1) % (1 << _BITS)
    return np.asarray((levels + 0.5) / (1 << _BITS), np.float32)


def _seen(codes: Codes) -> Numbers:
    """Which colours these pixels have, the most frequent first."""
    counts = np.bincount(codes, minlength=_COLOURS)
    seen = np.flatnonzero(counts >= max(_LEAST_PX, _SEEN * codes.size))
    return np.asarray(seen[np.argsort(-counts[seen], kind="stable")])


def _near(colours: Numbers) -> Flags:
    """Of each possible colour, whether it is one of these."""
    if not colours.size:
        return np.zeros(_COLOURS, bool)
    lab = cv2.cvtColor(_rgb(np.arange(_COLOURS))[None], cv2.COLOR_RGB2Lab)[0]
    distance, _ = cKDTree(lab[colours]).query(lab, distance_upper_bound=_SAME)
    return np.asarray(np.isfinite(distance))


def _plain(colour: Pixels, outside: Mask) -> bool:
    """Whether one smooth surface explains the outside: then nothing else is expected behind the subject."""
    step = max(1, max(outside.shape) // _PLAIN_PX)
    lab, where = to_lab(colour[::step, ::step]), outside[::step, ::step]
    distance = fit_border(lab).distance(lab)[where]
    return bool(distance.size) and float(np.mean(distance < EXPLAINED)) >= _EXPLAINED


def _cores(alpha: Alpha, labels: Labels, holes: Numbers, high: float) -> Mask:
    """Pixels of holes in the lower half of their alpha: without the soft rim, where both sides mix."""
    lowest = np.zeros(int(labels.max()) + 1, np.float32)
    lowest[holes] = ndimage.minimum(alpha, labels, holes)
    middle = (lowest + np.float32(high)) / 2
    middle[np.setdiff1d(np.arange(middle.size), holes)] = -1
    return np.asarray(alpha <= middle[labels])


def _share(
    core: Mask,
    labels: Labels,
    codes: Codes,
    near: Flags,
    holes: Numbers,
) -> npt.NDArray[np.float64]:
    """Of each hole's core, the share of pixels with such a colour."""
    of, size = labels[core], int(labels.max()) + 1
    hits = np.bincount(of, weights=near[codes[core]], minlength=size)
    return np.asarray(hits[holes] / np.bincount(of, minlength=size)[holes])


def _translucent(codes: Codes, alpha: Alpha, outside: Numbers) -> bool:
    """Whether ``C = alpha F + (1 - alpha) B`` holds with one tint F and colours B from outside."""
    if not _TRANSLUCENT[0] < float(alpha.mean()) < _TRANSLUCENT[1]:
        return False
    step = max(1, codes.size // _SAMPLES)
    colour, cover = _rgb(codes[::step][:_SAMPLES]), alpha[::step][:_SAMPLES, None, None]
    behind = (1 - cover) * _rgb(outside[:_GROUNDS])[None]
    tints = np.clip((colour[:, None] - behind) / np.maximum(cover, 1e-3), 0, 1).reshape(-1, 3)
    explained = [
        np.mean((np.abs(cover * tint + behind - colour[:, None]).max(axis=2) < _MIXING_ERROR).any(axis=1))
        for tint in tints
    ]
    return float(max(explained)) >= _MIXED
