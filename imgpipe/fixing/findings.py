"""What is wrong with a picture: JPEG's steps, noise, too few levels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from imgpipe.fixing.deband import Levels, contours, find_levels
from imgpipe.fixing.jpeg_traces import QUALITIES, blockiness, find_traces, keeps_to, quality_of, table
from imgpipe.fixing.noise import noise_sigma
from imgpipe.fixing.pieces import planes_at, windows
from imgpipe.fixing.sliding_dct import Float
from imgpipe.fixing.smooth import Damage
from imgpipe.images.image import Image


@dataclass(frozen=True, slots=True, eq=False)
class Findings:
    """``quality``: libjpeg's, 1..100; ``found_by``: ``tables`` (of the file) or ``pixels``. They are ``None``
    and empty where no JPEG is to be undone. ``levels``: of each colour channel, ``None`` where it has all."""

    damage: Damage
    quality: int | None
    found_by: str
    levels: tuple[Levels | None, ...]

    def as_dict(self) -> dict[str, Any]:
        """For quality.json; ``grid``: px from the first corner of a block to the picture's, x and y."""
        damage = self.damage
        places = {"grid": [*damage.offset[::-1]], "chroma_px": [*damage.sampling[::-1]]}
        jpeg = {"quality": self.quality, "found_by": self.found_by, **places}
        return {
            "jpeg": None if self.quality is None else jpeg,
            "noise_sigma_255": [round(sigma, 2) for sigma in damage.sigmas],
            "bits": [None if one is None else one.bits for one in self.levels],
        }


def examine(image: Image) -> Findings:
    """What there is to fix."""
    planes = [planes_at(image, place) for place in windows(image)]
    lumas = [window[0] for window in planes]
    sigmas = [noise_sigma([window[at] for window in planes]) for at in range(len(planes[0]))]
    noise = (sigmas[0], *(sigmas[1:] or (0.0, 0.0)))
    visible = None if image.alpha is None else image.alpha > 0
    levels = tuple(find_levels(image.colour[..., at], visible) for at in range(image.colour.shape[2]))
    traced, offset = find_traces(lumas)
    known = image.jpeg
    quality = None if known is None else quality_of(known.luma)
    # A file of high quality may have been made from one of low quality.
    if traced is not None and (quality is None or traced < quality - 2):
        return Findings(_traced(planes, traced, offset, noise), traced, "pixels", levels)
    if known is None or quality is None or quality > QUALITIES[-1]:
        return Findings(Damage(sigmas=noise), None, "", levels)
    chroma = np.array(known.chroma, np.float32) if known.chroma else None
    damage = Damage(np.array(known.luma, np.float32), chroma, known.sampling, sigmas=noise)
    return Findings(damage, quality, "tables", levels)


def measures(image: Image, offset: tuple[int, int]) -> Mapping[str, float]:
    """Blockiness on a grid, 1 for none, and the share of pixels at contours of flat steps."""
    lumas = [planes_at(image, place)[0] for place in windows(image)]
    return {"blockiness": blockiness(lumas, offset), "banding": contours(lumas)}


def _traced(
    planes: Sequence[Sequence[Float]],
    quality: int,
    offset: tuple[int, int],
    noise: tuple[float, float, float],
) -> Damage:
    """A JPEG of libjpeg's tables. Chroma was halved, as most is, unless it keeps to its steps as it is."""
    steps = table(quality, chroma=True)
    whole = any(keeps_to([window[at] for window in planes], steps, offset) for at in range(1, len(planes[0])))
    sampling = (1, 1) if whole else (2, 2)
    return Damage(table(quality), steps, sampling, offset, noise)
