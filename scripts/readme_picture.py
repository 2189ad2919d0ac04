"""Makes docs/images/stages.png for the README: source, matte, upscaled, diff of one sample drawing.

python scripts/readme_picture.py --upscale-model PATH_OR_NAME
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from imgpipe.config import load_settings
from imgpipe.images.colour import composite_over
from imgpipe.images.decode import decode
from imgpipe.images.image import Image
from imgpipe.quality.diff import diff_png
from imgpipe.samples.files import write_samples
from imgpipe.single import process_file

EDGE_PX = 360
_Bytes = npt.NDArray[np.uint8]


def checkerboard(height: int, width: int, cell_px: int) -> _Bytes:
    y, x = np.mgrid[:height, :width] // cell_px
    return np.where(((x + y) % 2)[..., None] == 0, 255, 214).astype(np.uint8).repeat(3, axis=2)


def on_checkerboard(image: Image) -> _Bytes:
    board = checkerboard(image.height, image.width, max(4, image.width // 32)).astype(np.float32)
    return np.asarray(np.floor(composite_over(image, board) + 0.5), np.uint8)


def panel(pixels: _Bytes, caption: str) -> _Bytes:
    scale = EDGE_PX / pixels.shape[0]
    kernel = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    picture = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=kernel)
    framed = cv2.copyMakeBorder(picture, 34, 8, 8, 8, cv2.BORDER_CONSTANT, value=(255, 255, 255))
    cv2.putText(framed, caption, (8, 23), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (40, 40, 40), 1, cv2.LINE_AA)
    return framed.astype(np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--upscale-model", default="imgpipe-lite")
    parser.add_argument("--drawing", default="02_wave_sky")
    parser.add_argument("--output", type=Path, default=Path("docs/images/stages.png"))
    arguments = parser.parse_args()
    settings = load_settings({"rembg.model": "classical", "upscale.model": arguments.upscale_model})
    with tempfile.TemporaryDirectory() as folder:
        files = write_samples(Path(folder))
        path = next(file for file in files if file.stem == arguments.drawing)
        source = decode(path.read_bytes(), name=path.name, limits=settings.limits)
        cut = process_file(path, load_settings({"rembg.model": "classical", "actions": ["rembg"]}), "PNG")
        done = process_file(path, settings, "PNG")
    if cut.data is None or done.data is None:
        raise SystemExit(f"{arguments.drawing}: {done.last.reasons or done.last.error_message}")
    limits = settings.limits.for_own_files()
    cutout = decode(cut.data, name="cutout", limits=limits)
    result = decode(done.data, name="result", limits=limits)
    panels = [
        panel(on_checkerboard(source), f"source {source.width}x{source.height}"),
        panel(on_checkerboard(cutout), "matted"),
        panel(on_checkerboard(result), f"upscaled {result.width}x{result.height}"),
        panel(
            decode(diff_png(cutout, result), name="diff", limits=limits).pixels.astype(np.uint8), "diff.png"
        ),
    ]
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    height = max(part.shape[0] for part in panels)
    padded = [
        cv2.copyMakeBorder(part, 0, height - part.shape[0], 0, 0, cv2.BORDER_CONSTANT, value=(255, 255, 255))
        for part in panels
    ]
    cv2.imwrite(str(arguments.output), np.hstack(padded)[..., ::-1])
    print(arguments.output)


if __name__ == "__main__":
    main()
