"""The input of a segmentation network (such as SAM): plain 8-bit sRGB."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from imgpipe.images.colour import composite_over, to_srgb8
from imgpipe.images.image import Image
from imgpipe.images.srgb import srgb_profile
from imgpipe.pixels.strips import spans

#: What viewers show behind a cutout. The subject's own mean colour would make its outline vanish, which is
#: what segmentation looks for; black would swallow the outlines of drawings.
BACKGROUND = (255.0, 255.0, 255.0)
_STRIP_ROWS = 32


def segmentation_feed(image: Image) -> Image:
    """``image`` as (height, width, 3) uint8 sRGB of the same size; ``image`` itself is not touched.

    Converted through its ICC profile (relative colorimetric, black point compensation) and then rounded to 8
    bits, grey is repeated. A picture with alpha is composited over white, so that whatever colours a file
    holds under alpha 0 never reach the network. The result carries an sRGB profile and no EXIF or XMP, which
    stay with the picture that it was made from.
    """
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    for rows in spans(0, image.height, _STRIP_ROWS):
        straight = to_srgb8(replace(image, pixels=image.pixels[rows]))
        if image.has_alpha:
            # The conversion to integers cuts off, which rounds half up here.
            pixels[rows] = composite_over(Image(straight), BACKGROUND) + np.float32(0.5)
        else:
            pixels[rows] = straight
    return Image(pixels, icc=srgb_profile())
