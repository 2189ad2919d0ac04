"""Every picture below some folders, decoded and compared with independent readers.

    python benchmarks/decode_sweep.py pillow=pillow-13.0.0/Tests/images imageio=imageio-2.38.1/tests

The readers are libvips (where pyvips is installed), Pillow, OpenCV and tifffile. A file is
*equal* where one of them gives the same picture within 1 of 255, colour weighted by alpha; refused where
decoding raises one of our errors, which names its column; and else it *differs*. The table of docs/formats.md
is this program's output. What differs and what is refused is listed below it, with the readers that take it
without a warning.
"""

from __future__ import annotations

import argparse
import io
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import PIL.Image
import PIL.ImageOps
import tifffile

from imgpipe.errors import ImageError
from imgpipe.images.decode import decode
from imgpipe.images.sniff import sniff
from imgpipe.settings import LimitSettings

try:
    import pyvips  # type: ignore[import-not-found]
except ImportError:
    pyvips = None

Array = npt.NDArray[Any]
#: Files that are none of our formats count where their names say that they are.
OTHER = "other"
SUFFIXES = (
    ".png",
    ".jpg",
    ".jpeg",
    ".tif",
    ".tiff",
    ".gif",
    ".bmp",
    ".webp",
    ".avif",
    ".heic",
    ".heif",
    ".jxl",
)
LIMITS = LimitSettings(max_aspect_ratio=65_535, min_side=1)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sources", nargs="+", metavar="NAME=FOLDER")
    arguments = parser.parse_args()
    counts: dict[tuple[str, str], Counter[str]] = {}
    findings: list[str] = []
    for source in arguments.sources:
        name, folder = source.split("=", 1)
        for path in sorted(p for p in Path(folder).rglob("*") if p.is_file()):
            fmt, outcome, remark = judge(path.read_bytes(), str(path))
            if fmt == OTHER and not path.name.lower().endswith(SUFFIXES):
                continue
            counts.setdefault((name, fmt), Counter())[outcome] += 1
            if remark:
                findings.append(f"{outcome}: {path}: {remark}")
    print(table(counts))
    print("\n".join(["", *findings]))
    return 1 if any("differs" in outcomes for outcomes in counts.values()) else 0


def table(counts: dict[tuple[str, str], Counter[str]]) -> str:
    """Markdown: one row for each source and format, then the sums."""
    columns = ["equal", "UnsupportedFormat", "DecodeError", "LimitExceeded", "not compared", "differs"]
    rows = [("source", "format", "files", *columns), ("---",) * (len(columns) + 3)]
    total: Counter[str] = Counter()
    for (source, fmt), outcomes in sorted(counts.items()):
        total += outcomes
        rows.append((source, fmt, str(outcomes.total()), *(str(outcomes[c] or "") for c in columns)))
    rows.append(("all", "", str(total.total()), *(str(total[c] or "") for c in columns)))
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def judge(data: bytes, name: str) -> tuple[str, str, str]:
    """(format, outcome, remark) of one file."""
    try:
        fmt = sniff(data, name)
    except ImageError as exc:
        return OTHER, type(exc).__name__, str(exc).removeprefix(name)
    others = readings(data, fmt)
    try:
        image = decode(data, name=name, limits=LIMITS)
    except ImageError as exc:
        readers = [reader for reader, _ in others]
        readable = f"; read by {', '.join(readers)}" if readers else ""
        return fmt, type(exc).__name__, str(exc).removeprefix(name) + readable
    ours = rgba(image.pixels)
    distances: dict[str, float] = {}
    for reader, theirs in others:
        distances[reader] = distance(ours, theirs)
        if distances[reader] <= 1:
            return fmt, "equal", ""
    outcome = "differs" if distances else "not compared"
    return fmt, outcome, f"{distances}, {image.pixels.shape}, {image.notes}"


def readings(data: bytes, fmt: str) -> Iterator[tuple[str, Array]]:
    """(reader, (height, width, 4) 0..255) of those readers that take the file without a complaint."""
    readers: dict[str, Callable[[bytes], Array]] = {"Pillow": by_pillow, "OpenCV": by_opencv}
    if pyvips is not None:
        readers = {"libvips": by_vips, **readers}
    if fmt == "TIFF":
        readers["tifffile"] = by_tifffile
    for reader, read in readers.items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                warnings.filterwarnings("ignore", "Corrupt EXIF")
                yield reader, read(data)
        except Exception:  # noqa: S112 - on test files a reader may raise anything: it has no opinion then
            continue


def by_vips(data: bytes) -> Array:
    image = pyvips.Image.new_from_buffer(data, "", fail_on="warning").autorot()
    if image.interpretation == "cmyk":
        image = image.icc_transform("srgb", embedded=True, intent="relative", black_point_compensation=True)
    if image.get_typeof("page-height"):
        image = image.crop(0, 0, image.width, min(image.height, image.get("page-height")))
    return rgba(image.numpy())


def by_pillow(data: bytes) -> Array:
    with PIL.Image.open(io.BytesIO(data)) as opened:
        image = PIL.ImageOps.exif_transpose(opened)
        if image.mode == "I;16" or image.mode.startswith("I;16"):
            return rgba(np.asarray(image))
        if image.mode in ("I", "F", "LAB", "HSV"):
            raise ValueError(image.mode)
        return rgba(np.asarray(image.convert("RGBA")))


def by_opencv(data: bytes) -> Array:
    decoded: Array = np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED))
    if decoded.ndim == 3:
        decoded = decoded[..., [2, 1, 0, 3][: decoded.shape[2]]]
    return rgba(decoded)


def by_tifffile(data: bytes) -> Array:
    with tifffile.TiffFile(io.BytesIO(data)) as opened:
        page = opened.pages.first
        pixels = page.asarray()
        if page.photometric not in (0, 1, 2) or page.tags.valueof(274, 1) != 1:
            raise ValueError(page.photometric)
        if page.planarconfig == 2:
            pixels = np.moveaxis(pixels, 0, -1)
        pixels = pixels.reshape(page.imagelength, page.imagewidth, -1)
        scaled = pixels.astype(np.float64) * (255 / ((1 << page.bitspersample) - 1))
        if page.photometric == 0:
            scaled[..., 0] = 255 - scaled[..., 0]
        if page.extrasamples[:1] == (1,):
            scaled[..., :-1] *= 255 / np.maximum(scaled[..., -1:], 1e-9)
        return rgba(scaled)


def rgba(pixels: Array) -> Array:
    """(height, width, 4) float32 0..255 of 1 to 4 channels of 8 or 16 bits, or floats 0..255."""
    if pixels.dtype not in (np.uint8, np.uint16, np.float64):
        raise ValueError(pixels.dtype)
    values = np.atleast_3d(pixels).astype(np.float32) / (257 if pixels.dtype == np.uint16 else 1)
    channels = values.shape[2]
    if channels > 4:
        raise ValueError(channels)
    colour = values[..., :3] if channels >= 3 else np.repeat(values[..., :1], 3, axis=2)
    alpha = (
        values[..., channels - 1 :]
        if channels in (2, 4)
        else np.full((*values.shape[:2], 1), 255, np.float32)
    )
    return np.concatenate([colour, alpha], axis=2)


def distance(ours: Array, theirs: Array) -> float:
    """The largest difference in 0..255 of alpha and of colour as it shows: weighted by alpha."""
    if ours.shape != theirs.shape:
        return 999.0
    shown = [np.concatenate([p[..., :3] * p[..., 3:] / 255, p[..., 3:]], axis=2) for p in (ours, theirs)]
    return round(float(np.abs(shown[0] - shown[1]).max()), 1)


if __name__ == "__main__":
    sys.exit(main())
