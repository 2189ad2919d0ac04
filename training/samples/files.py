"""The sample drawings as files: ``python -m training.samples.files`` writes those of ``imgpipe/samples``."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import PIL.Image

import imgpipe
from imgpipe.images.encode import encode
from imgpipe.images.file_formats import EXTENSIONS
from imgpipe.images.image import Image, Pixels
from training.samples.drawings import Drawing, draw_samples, exif_block

#: Below this quality a JPEG has 4:2:0 chroma subsampling, like old web pictures.
_GOOD_JPEG_QUALITY = 90


def encode_drawing(drawing: Drawing) -> bytes:
    """The file's bytes, with the orientation, the metadata and the JPEG quality that the drawing asks for."""
    image = drawing.image
    if drawing.stored_orientation != 1:
        pixels = _turned(image.pixels, drawing.stored_orientation)
        image = replace(image, pixels=pixels, exif=exif_block(drawing.stored_orientation))
    if drawing.file_format != "JPEG":
        return encode(image, format=drawing.file_format)
    if drawing.jpeg_quality >= _GOOD_JPEG_QUALITY:
        return encode(image, format="JPEG", quality=drawing.jpeg_quality)
    buffer = io.BytesIO()
    PIL.Image.fromarray(image.pixels).save(buffer, "JPEG", quality=drawing.jpeg_quality, subsampling="4:2:0")
    return buffer.getvalue()


def _turned(pixels: Pixels, orientation: int) -> Pixels:
    """The stored pixels that a viewer turns upright by this EXIF orientation (CIPA DC-008, 4.6.4)."""
    quarter_turns = {3: 2, 6: 1, 8: 3}[orientation]
    return cast(Pixels, np.ascontiguousarray(np.rot90(pixels, quarter_turns)))


if __name__ == "__main__":
    package = Path(imgpipe.__file__).parent / "samples"
    for made in draw_samples():
        file = package / "pictures" / f"{made.name}.{EXTENSIONS[made.file_format]}"
        file.write_bytes(encode_drawing(made))
        (package / "masks" / f"{made.name}.png").write_bytes(encode(Image(made.mask[..., None])))
