"""A picture as networks know pictures, in sRGB, and their answer back in the picture's own colour space.

Networks learnt sRGB's encoding: the same picture in linear light comes out with other colours and lines.
Colours outside sRGB are fed clipped, and what was clipped is enlarged bilinearly and added to the answer, so
that no gamut is lost. Measured with realesr-animevideov3, 16 bits, as shown on screen: a picture in linear
light, P3, Adobe RGB or ProPhoto RGB comes out within 68 to 73 dB of the same picture in sRGB (24 to 46 dB
when fed as stored, 41 to 68 dB in sRGB's curve over its own primaries). Pictures with a tenth of their
colours outside sRGB keep them as well as in their own primaries (PSNR to the original there 30.3 to 31.8 dB
against 30.6 to 31.7, and 26.1 to 30.2 where they are clipped).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from imgpipe.images.colour import fitted, to_8_bit
from imgpipe.images.image import Image
from imgpipe.images.rgb_space import RgbSpace, space_of
from imgpipe.images.srgb import Floats, srgb_encoded, srgb_linear
from imgpipe.inference.threads import network_threads
from imgpipe.pixels.bilinear import enlarged_rows
from imgpipe.pixels.strips import spans

_STRIP_PIXELS = 2**16
_FULL = np.float32(65535)
#: A colour is outside sRGB from here on, 1/255: below it is the rounding of 8 bits.
_OUTSIDE_255 = 4.0


class _Beyond:
    """(h, w, channels) float32, 1.0 = full range: what is clipped of a picture in sRGB, when it is read."""

    def __init__(self, image: Image, space: RgbSpace) -> None:
        self._image, self._space = image, space
        self.shape = image.colour.shape
        #: Rows in which there is any; in the others it counts as none.
        self.rows = np.zeros(image.height, bool)

    def __getitem__(self, rows: slice) -> Floats:
        return self.split(rows)[1] * self.rows[rows, None, None]

    def split(self, rows: slice) -> tuple[Floats, Floats]:
        """What lies in sRGB, and what is clipped; nothing is under alpha 0."""
        values = srgb_encoded(self._space.light(self._image.colour[rows]))
        inside = np.clip(values, 0.0, 1.0)
        values -= inside
        if self._image.alpha is not None:
            values *= self._image.alpha[rows, :, None] > 0
        return inside, values


@dataclass(frozen=True, slots=True, eq=False)
class SrgbView:
    """``image``: what a network is given, with the source's channels: the source itself where it is sRGB,
    else 16 bits without a profile. ``beyond``: what was clipped there; ``None`` where nothing was.
    ``outside_share``: of the pixels, those whose colour lies outside sRGB."""

    source: Image
    image: Image
    space: RgbSpace | None = None
    beyond: _Beyond | None = None
    outside_share: float = 0.0

    def details(self) -> dict[str, Any]:
        """Facts for the row: how the picture was fed, and the share of its pixels that lie outside sRGB."""
        if self.space is None:
            return {}
        fed = "nearly sRGB (the profile is a table)" if self.space.tables else "sRGB"
        return {"colour": {"fed_as": fed, "outside_srgb_share": round(self.outside_share, 6)}}

    def back(self, result: Image, *, reuse: bool = False) -> Image:
        """``result`` in the source's space, depth and profile; it was made from :attr:`image`, is of any size
        and may have an alpha of its own. At the source's size, pixels that were not changed are the source's,
        bit by bit; colour under alpha 0 is 0. ``reuse``: in the memory of ``result``, if its depth allows."""
        space = self.space
        if space is None:
            return result
        pixels = result.pixels
        if not reuse or pixels.dtype != self.source.pixels.dtype:
            pixels = np.empty(pixels.shape, self.source.pixels.dtype)
        step = max(1, _STRIP_PIXELS // result.width)

        def work(rows: slice) -> None:
            pixels[rows] = self._rows_back(space, result, rows)

        with ThreadPoolExecutor(network_threads(), thread_name_prefix="imgpipe-colour") as pool:
            for _ in pool.map(work, spans(0, result.height, step)):
                pass  # an exception of a strip is raised here
        return replace(result, pixels=pixels, icc=self.source.icc)

    def _rows_back(self, space: RgbSpace, result: Image, rows: slice) -> npt.NDArray[Any]:
        part = result.colour[rows]
        values = part.astype(np.float32) / _FULL
        if self.beyond is not None:
            values += enlarged_rows(self.beyond, result.width, result.height, rows)
        levels = self._own_depth(space.levels(srgb_linear(values)))
        if result.pixels.shape[:2] == self.image.pixels.shape[:2]:
            unchanged = (part == self.image.colour[rows]).all(axis=2, keepdims=True)
            levels = np.where(unchanged, self.source.colour[rows], levels)
        if result.alpha is None:
            return levels
        alpha = self._own_depth(result.alpha[rows, :, None])
        return np.concatenate([np.where(alpha > 0, levels, 0), alpha], axis=2)

    def _own_depth(self, levels: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return to_8_bit(levels) if self.source.bit_depth == 8 else levels


def srgb_view(image: Image) -> SrgbView:
    """``image`` for a network; see the module."""
    image = fitted(image)
    space = space_of(image.icc)
    if space is None:
        return SrgbView(image, image)
    beyond, outside = _Beyond(image, space), 0
    pixels = np.empty(image.pixels.shape, np.uint16)
    for rows in spans(0, image.height, max(1, _STRIP_PIXELS // image.width)):
        inside, clipped = beyond.split(rows)
        pixels[rows, :, : inside.shape[2]] = inside * _FULL + np.float32(0.5)
        farthest = np.abs(clipped).max(axis=2)
        beyond.rows[rows] = farthest.max() > 0.5 / _FULL
        outside += int(np.count_nonzero(farthest > _OUTSIDE_255 / 255))
    if image.alpha is not None:
        pixels[..., -1] = image.alpha
        if image.bit_depth == 8:
            pixels[..., -1] *= 257
    fed = replace(image, pixels=pixels, icc=None)
    share = outside / (image.width * image.height)
    return SrgbView(image, fed, space, beyond if beyond.rows.any() else None, share)
