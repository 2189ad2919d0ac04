"""Who is compared: rembg's own functions and ours, all fed with the same picture and the same mask."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Mapping

import numpy as np
import PIL.Image

from imgpipe.images.image import Image
from imgpipe.matting.matte import CoarseMatte
from imgpipe.matting.refine import finish
from imgpipe.settings import RembgSettings

Pixels = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
Cut = Callable[[Pixels, Pixels], Pixels]

OURS = "ours"


def contenders() -> Mapping[str, Cut]:
    """Name -> function of (picture (h, w, 3), mask (h, w)) to a straight RGBA cutout, all uint8."""
    return {
        "rembg": _rembg_plain,
        "rembg 240/10/10": lambda picture, mask: _rembg_matting(picture, mask, 240, 10, 10),
        "rembg, colours": _rembg_decontaminated,
        "rembg 270/20/11": lambda picture, mask: _rembg_matting(picture, mask, 270, 20, 11),
        OURS: _ours,
    }


#: Those whose best one is the mark to beat; the other one is what people copy, and equals the first.
RIVALS = ("rembg", "rembg 240/10/10", "rembg, colours")


def _rembg_plain(picture: Pixels, mask: Pixels) -> Pixels:
    from rembg.bg import naive_cutout

    return np.asarray(naive_cutout(PIL.Image.fromarray(picture), PIL.Image.fromarray(mask)))


def _rembg_decontaminated(picture: Pixels, mask: Pixels) -> Pixels:
    """The mask's own alpha with the foreground's colours: ``rembg.remove(decontaminate=True)``."""
    from rembg.bg import decontaminate_cutout

    return np.asarray(decontaminate_cutout(PIL.Image.fromarray(picture), PIL.Image.fromarray(mask)))


def _rembg_matting(picture: Pixels, mask: Pixels, foreground: int, background: int, erode: int) -> Pixels:
    from rembg.bg import alpha_matting_cutout

    try:
        with contextlib.redirect_stdout(io.StringIO()):  # pymatting prints advice on its preconditioner
            cutout = alpha_matting_cutout(
                PIL.Image.fromarray(picture), PIL.Image.fromarray(mask), foreground, background, erode
            )
    except ValueError:  # as rembg.remove does it
        return _rembg_plain(picture, mask)
    return np.asarray(cutout)


def _ours(picture: Pixels, mask: Pixels) -> Pixels:
    coarse = CoarseMatte(mask.astype(np.float32) / np.float32(255), evidence=1.0, confidence=1.0)
    matte = finish(Image(picture), coarse, RembgSettings(), {})
    return np.asarray(matte.image.pixels, np.uint8)
