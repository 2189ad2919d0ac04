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


@dataclass(frozen=True, slots=True, eq=False)
class SrgbView:
    """``image``: what a network is given, with the source's channels: the source itself where it is sRGB,
    else 16 bits without a profile. ``beyond``: (h, w, channels) float32, what was clipped there, 1.0 = full
    range; ``None`` where nothing was."""

    source: Image
    image: Image
    space: RgbSpace | None = None
    beyond: Floats | None = None

    def details(self) -> dict[str, Any]:
        """Facts for the row: how the picture was fed, and the share of its pixels that lie outside sRGB."""
        if self.space is None:
            return {}
        fed = "nearly sRGB (the profile is a table)" if self.space.tables else "sRGB"
        beyond = 0.0
        if self.beyond is not None:
            farthest = np.maximum(self.beyond.max(axis=2), -self.beyond.min(axis=2))
            beyond = float(np.mean(farthest > _OUTSIDE_255 / 255))
        return {"colour": {"fed_as": fed, "outside_srgb_share": round(beyond, 6)}}

    def back(self, result: Image) -> Image:
        """``result`` in the source's space, depth and profile; it was made from :attr:`image`, is of any size
        and may have an alpha of its own. At the source's size, pixels that were not changed are the source's,
        bit by bit; colour under alpha 0 is 0."""
        space = self.space
        if space is None:
            return result
        pixels = np.empty(result.pixels.shape, self.source.pixels.dtype)
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
    channels = image.colour.shape[2]
    pixels = np.empty(image.pixels.shape, np.uint16)
    beyond: Floats | None = None
    for rows in spans(0, image.height, max(1, _STRIP_PIXELS // image.width)):
        values = srgb_encoded(space.light(image.colour[rows]))
        fed = np.clip(values, 0.0, 1.0)
        pixels[rows, :, :channels] = fed * _FULL + np.float32(0.5)
        values -= fed
        if image.alpha is not None:
            values *= image.alpha[rows, :, None] > 0
        if np.abs(values).max() > 0.5 / _FULL:
            if beyond is None:
                beyond = np.zeros(image.colour.shape, np.float32)
            beyond[rows] = values
    if image.alpha is not None:
        pixels[..., -1] = image.alpha
        if image.bit_depth == 8:
            pixels[..., -1] *= 257
    return SrgbView(image, replace(image, pixels=pixels, icc=None), space, beyond)
