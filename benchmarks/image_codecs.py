"""PNG decoding and encoding measured beside Pillow's defaults: seconds and bytes.

    python benchmarks/image_codecs.py --quick                 a small drawing, a few seconds
    python benchmarks/image_codecs.py                         1024 x 1024, a minute
    python benchmarks/image_codecs.py --sizes 1024 4096 --repeat 5 --images outputs/ --efforts fast small

All writers take turns on the same RGBA pixels in one process, and the best of their turns counts, so that
what else the machine does hurts them alike. Pictures: sample drawings with their mattes, enlarged; the real
files of ``../shared`` where they are present, enlarged, and as they are; and those of ``--images`` as they
are. As they are: the middle cut out, or mirrored once; a picture that would have to be mirrored twice is left
out, since packers would find it again in itself. Colour under alpha 0 is zeroed for everyone. Results are
printed and kept as JSON, one file per machine and packing library.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import cv2
import machine
import numpy as np
import numpy.typing as npt
import PIL.Image
from PIL import features

from imgpipe.images.decode import decode
from imgpipe.images.encode import encode
from imgpipe.images.image import Image
from imgpipe.images.isolation import IsolatedDecoder
from imgpipe.pixels.resize import resize
from imgpipe.settings import IsolationSettings, LimitSettings
from training.samples.drawings import draw_samples

ROOT = Path(__file__).resolve().parent.parent
REAL_FILES = (
    "anime/anime-girl-1.isnet-anime.png",
    "anime/frame-048.png",
    "sr/anime-186.png",
    "formats/children-alpha.png",
)
TARGET_SPEED, TARGET_BYTES = 5.0, 1.1
LIMITS = LimitSettings()

Result = TypeVar("Result")
Pixels = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    described = _machine()
    print(", ".join(f"{name} {value}" for name, value in described.items()))
    results: dict[str, Any] = {"machine": described}
    with IsolatedDecoder(IsolationSettings(), 1) as isolated:
        for size in options.sizes:
            print(f"\n{size} x {size} RGBA, best of {options.repeat}")
            rows = {
                name: _measure(name, pixels, options, isolated) for name, pixels in _pictures(size, options)
            }
            results[f"{size}x{size}"] = {"pictures": rows, "all": _sum(rows)}
    where = machine.slug(described["cpu"], described["packing"].split()[0])
    machine.keep(results, "image_codecs", where, options.output)
    return 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sizes", nargs="+", type=int, default=[1024], help="edges of the pictures, px")
    parser.add_argument("--repeat", type=int, default=3, help="turns; the best counts")
    parser.add_argument(
        "--efforts", nargs="+", default=["fast", "balanced"], choices=["fast", "balanced", "small"]
    )
    parser.add_argument("--images", type=Path, help="folder of more pictures, such as the outputs of a run")
    parser.add_argument("--quick", action="store_true", help="drawings of 256 x 256, one turn")
    parser.add_argument("--output", type=Path, help="JSON file; default: benchmarks/results/")
    options = parser.parse_args(arguments)
    if options.quick:
        options.sizes, options.repeat, options.efforts = [256], 1, ["fast", "balanced", "small"]
    return options


# ---------------------------------------------------------------- what is measured


def _measure(
    name: str, pixels: Pixels, options: argparse.Namespace, isolated: IsolatedDecoder
) -> dict[str, dict[str, float]]:
    """Writer or reader -> seconds, bytes, and both in relation to Pillow's."""
    image, opened = Image(pixels), PIL.Image.fromarray(pixels)
    writers: dict[str, Callable[[], bytes]] = {"pillow": lambda: _pillow_encode(opened)}
    for effort in options.efforts:
        writers[f"ours {effort}"] = partial(encode, image, effort=effort, zero_transparent=False)
    written = _take_turns(writers, options.repeat)
    data = written["pillow"][1]
    readers: dict[str, Callable[[], npt.NDArray[Any]]] = {
        "pillow": lambda: _pillow_decode(data),
        "ours": lambda: decode(data, name=name, limits=LIMITS).pixels,
        "ours isolated": lambda: isolated.decode(data, name=name, limits=LIMITS).pixels,
    }
    readers["ours isolated"]()  # starts the worker
    read = _take_turns(readers, options.repeat)
    for effort in options.efforts:
        assert np.array_equal(_pillow_decode(written[f"ours {effort}"][1]), pixels), (name, effort)
    assert all(np.array_equal(result, pixels) for _, result in read.values()), name
    rows = {f"encode {who}": _row(written, who) | _bytes(written, who) for who in writers}
    rows |= {f"decode {who}": _row(read, who) for who in readers}
    _print(name, rows)
    return rows


def _take_turns(jobs: dict[str, Callable[[], Result]], repeat: int) -> dict[str, tuple[float, Result]]:
    """Name -> (seconds of the best turn, last result)."""
    best: dict[str, tuple[float, Result]] = {}
    for _ in range(repeat):
        for name, job in jobs.items():
            start = time.perf_counter()
            result = job()
            seconds = time.perf_counter() - start
            best[name] = min(seconds, best[name][0] if name in best else seconds), result
    return best


def _row(taken: dict[str, tuple[float, Any]], who: str) -> dict[str, float]:
    return {"seconds": taken[who][0], "times_faster": taken["pillow"][0] / taken[who][0]}


def _bytes(written: dict[str, tuple[float, bytes]], who: str) -> dict[str, float]:
    size = len(written[who][1])
    return {"bytes": size, "bytes_ratio": size / len(written["pillow"][1])}


def _sum(pictures: dict[str, dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """All pictures together: seconds and bytes added up, then compared."""
    totals: dict[str, dict[str, float]] = {}
    for rows in pictures.values():
        for who, row in rows.items():
            total = totals.setdefault(who, {"seconds": 0.0})
            for key in ("seconds", "bytes"):
                if key in row:
                    total[key] = total.get(key, 0) + row[key]
    for who, total in totals.items():
        pillow = totals[f"{who.split()[0]} pillow"]
        total["times_faster"] = pillow["seconds"] / total["seconds"]
        if "bytes" in total:
            total["bytes_ratio"] = total["bytes"] / pillow["bytes"]
    _print("all together", totals)
    fast = totals.get("encode ours fast")
    if fast:
        met = fast["times_faster"] >= TARGET_SPEED and fast["bytes_ratio"] <= TARGET_BYTES
        target = f"{TARGET_SPEED:g} x faster at {TARGET_BYTES:g} x the bytes"
        print(f"    target for fast, {target}: {'met' if met else 'missed'}")
    return totals


def _print(name: str, rows: dict[str, dict[str, float]]) -> None:
    print(f"  {name}")
    for who, row in rows.items():
        line = f"    {who:<22}{row['seconds'] * 1e3:9.1f} ms {row['times_faster']:6.1f} x faster"
        if "bytes" in row:
            line += f" {row['bytes']:12,.0f} bytes {row['bytes_ratio']:6.3f} x"
        print(line, flush=True)


def _pillow_encode(opened: PIL.Image.Image) -> bytes:
    buffer = io.BytesIO()
    opened.save(buffer, "PNG")
    return buffer.getvalue()


def _pillow_decode(data: bytes) -> Pixels:
    with PIL.Image.open(io.BytesIO(data)) as opened:
        return np.array(opened)


# ---------------------------------------------------------------- the pictures


def _pictures(size: int, options: argparse.Namespace) -> Iterator[tuple[str, Pixels]]:
    """Name and (size, size, 4) pixels."""
    drawings = {drawing.name: drawing for drawing in draw_samples()}
    for name in ("01_portrait_flat", "04_sticker_transparent", "07_kimono_lossless"):
        drawing = drawings[name]
        # What matting makes of it: the drawing with its own matte.
        cutout = np.dstack([drawing.image.pixels[..., :3], drawing.mask]).astype(np.uint8)
        yield f"{name}, enlarged", _enlarged(cutout, size)
    if options.quick:
        return
    for file in REAL_FILES:
        path = ROOT.parent / "shared" / "data" / file
        if path.is_file():
            pixels = _read(path)
            yield f"{path.stem}, enlarged", _enlarged(pixels, size)
            yield from _as_it_is(f"{path.stem}, as it is", pixels, size)
    for path in sorted(options.images.iterdir()) if options.images else ():
        yield from _as_it_is(path.stem, _read(path), size)


def _read(path: Path) -> Pixels:
    image = decode(path.read_bytes(), name=path.name, limits=LIMITS)
    pixels = image.pixels if image.bit_depth == 8 else (image.pixels // 257).astype(np.uint8)
    alpha = pixels[..., -1:] if image.has_alpha else np.full((*pixels.shape[:2], 1), 255, np.uint8)
    colour = image.colour if image.bit_depth == 8 else pixels[..., : image.colour.shape[2]]
    return np.concatenate([np.broadcast_to(colour, (*pixels.shape[:2], 3)), alpha], axis=2)


def _enlarged(pixels: Pixels, size: int) -> Pixels:
    enlarged = resize(Image(np.ascontiguousarray(pixels)), size, size, "lanczos")
    return _zeroed(np.asarray(enlarged.pixels, np.uint8))


def _as_it_is(name: str, pixels: Pixels, size: int) -> Iterator[tuple[str, Pixels]]:
    height, width = pixels.shape[:2]
    if 2 * min(height, width) < size * 0.9:
        return
    top, left = max(0, (height - size) // 2), max(0, (width - size) // 2)
    cut = pixels[top : top + size, left : left + size]
    margins = [(0, size - cut.shape[0]), (0, size - cut.shape[1]), (0, 0)]
    yield name, _zeroed(np.pad(cut, margins, "symmetric"))


def _zeroed(pixels: Pixels) -> Pixels:
    return np.ascontiguousarray(np.where(pixels[..., 3:] == 0, np.uint8(0), pixels))


# ---------------------------------------------------------------- the machine


def _machine() -> dict[str, Any]:
    return machine.describe(
        **{
            "opencv": cv2.__version__,
            "pillow": PIL.__version__,
            "pillow's zlib": features.version("zlib_ng") or features.version("zlib"),
            "packing": f"zlib-ng {version('zlib-ng')}",
        }
    )


if __name__ == "__main__":
    raise SystemExit(main())
