"""The sample drawings as files."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import PIL.Image

from imgpipe.errors import ConfigError, StorageError
from imgpipe.images.encode import encode
from imgpipe.images.file_formats import EXTENSIONS
from imgpipe.images.image import Image, Pixels
from imgpipe.samples.drawings import Drawing, draw_samples, exif_block
from imgpipe.storage.local import LocalStore

#: Below this quality a JPEG has 4:2:0 chroma subsampling, like old web pictures.
_GOOD_JPEG_QUALITY = 90


def write_samples(folder: Path, masks: Path | None = None, *, seed: int = 0) -> list[Path]:
    """Write every drawing into ``folder`` and return the files in order; the bytes depend on ``seed`` alone.

    ``masks``: a folder (neither ``folder`` nor below it, where they would be taken for sources) that receives
    each exact matte as ``<name>.png``, 8-bit grey. A file that already has these bytes is not written
    again and keeps its time; another of the same name is replaced. Raises :class:`ConfigError` where a
    folder cannot be used.
    """
    if masks is not None and masks.resolve().is_relative_to(folder.resolve()):
        raise ConfigError(
            f"masks: expected a folder outside of {folder}, got {masks}; it would be read as a source"
        )
    drawings = draw_samples(seed)
    files = {f"{d.name}.{EXTENSIONS[d.file_format]}": encode_drawing(d) for d in drawings}
    try:
        _write(folder, files)
        if masks is not None:
            _write(masks, {f"{d.name}.png": encode(Image(d.mask[..., None])) for d in drawings})
    except (OSError, StorageError) as exc:
        raise ConfigError(
            f"{folder}: the sample drawings cannot be written: {exc}; give another folder"
        ) from exc
    return [folder / name for name in files]


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


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    store = LocalStore(folder)
    for name, data in files.items():
        path = folder / name
        if not path.is_file() or path.read_bytes() != data:
            store.write(name, data, overwrite=True)
