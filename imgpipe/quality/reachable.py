"""What a Lanczos enlargement of a picture reaches: the metrics of its own round trip.

No enlargement gives dots of one bit, letters of ten pixels or lines of one pixel back exactly: Lanczos rings
beside them, and what lies beyond black and white is cut off. How far that goes depends on the source and on
the size: enlarged by 1.5, the pixels of the result lie at other places between the source's than by 2, and a
pixel of the average holds a part of its neighbours' pixels.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from imgpipe.images.image import Image
from imgpipe.pixels.lanczos_average import lanczos_averages
from imgpipe.pixels.round_trip import KEPT_PX, Float, Reduced, reduce_picture
from imgpipe.quality.comparison import measure, pairs_of
from imgpipe.quality.findings import Findings
from imgpipe.quality.structure_change import structure_change

#: The steps of :data:`imgpipe.quality.comparison.MEASURES` whose metrics have limits with a margin; beside
#: them, of one that sees the result's own pixels, the structure change is.
STEPS = ("psnr", "ssim", "colour", "structure")
#: Larger factors than this reach nearly the same.
_MAX_FACTOR = 4
_OPAQUE = np.float32(255.0)


def lanczos_reaches(source: Image, size: tuple[int, int]) -> dict[str, float]:
    """Metrics by name of ``source`` against its enlargement by Lanczos to ``size`` = (width, height), at most
    to four times its own.

    Empty where a side does not grow, and above 16 megapixels of the source, for its cost.
    """
    own = source.width, source.height
    if any(new <= old for new, old in zip(size, own, strict=True)) or source.width * source.height > KEPT_PX:
        return {}
    width, height = (min(new, _MAX_FACTOR * old) for new, old in zip(size, own, strict=True))
    before = reduce_picture(source, own)
    found = Findings()
    for pair in pairs_of(before, lanczos_round_trip(before, (width, height)), found):
        measure(pair, found, STEPS)
        change = structure_change(pair.reference_y, pair.round_trip_y, (width, height), pair.interior)
        found.add("structure_change", change)
    return found.metrics


def lanczos_round_trip(picture: Reduced, size: tuple[int, int]) -> Reduced:
    """``picture``, over black and at its own size, enlarged to ``size`` = (width, height) and averaged back.

    ``full`` stays the picture's own.
    """
    rgb = np.empty(picture.rgb.shape, np.float32)
    alpha = None if picture.alpha is None else np.empty(rgb.shape[:2], np.float32)

    def layers(rows: slice) -> Float:
        colour = np.asarray(picture.rgb[rows], np.float32)
        return colour if picture.alpha is None else np.dstack([colour, picture.alpha[rows] * _OPAQUE])

    for rows, mean in lanczos_averages(layers, (rgb.shape[0], rgb.shape[1]), size):
        rgb[rows] = mean[..., :3]
        if alpha is not None:
            alpha[rows] = mean[..., 3] / _OPAQUE
    return replace(picture, rgb=rgb, alpha=alpha)
