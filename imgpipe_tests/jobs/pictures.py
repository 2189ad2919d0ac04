"""Pictures that callers send."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from PIL import Image as PillowImage

from imgpipe.images.encode import encode
from imgpipe.images.image import Image
from imgpipe_tests.end_to_end.conftest import flat_drawing

#: Settings of jobs that need no weights.
CLASSICAL = {"upscale.model": "lanczos", "rembg.model": "classical"}


def drawing(seed: int = 1, width: int = 128, height: int = 112) -> bytes:
    """A PNG file of a drawing."""
    return encode(flat_drawing(seed, width, height))


def with_alpha() -> bytes:
    """A PNG file of a drawing whose left half is transparent."""
    colour = flat_drawing(2).pixels
    alpha = np.full((*colour.shape[:2], 1), 255, np.uint8)
    alpha[:, :64] = 0
    return encode(Image(np.concatenate([colour, alpha], axis=-1)))


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def opened(data: bytes | str) -> PillowImage.Image:
    """The picture in a file, or in its base64."""
    return PillowImage.open(io.BytesIO(base64.b64decode(data) if isinstance(data, str) else data))


def alpha_sides(picture: PillowImage.Image) -> tuple[Any, Any]:
    """Alpha of the left and the right half of what came of :func:`with_alpha`, without the softened edge."""
    alpha = np.asarray(picture.getchannel("A"))
    middle, edge = alpha.shape[1] // 2, 8
    return alpha[:, : middle - edge], alpha[:, middle + edge :]
