"""Makes docs/images/networks.webp: a part of sample drawings, reduced by 4 and enlarged by several models.

python scripts/networks_picture.py --model lanczos --model PATH_OR_NAME --model imgpipe-lite
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from readme_picture import panel

from imgpipe.config import load_settings
from imgpipe.images.image import Image
from imgpipe.settings import UpscaleSettings
from imgpipe.upscaling.build import build_upscaler
from training.samples.drawings import draw_samples

#: Drawing -> top, left of its part, px.
PARTS = {
    "01_portrait_flat": (108, 140),
    "03_night_city": (200, 120),
    "07_kimono_lossless": (120, 120),
    "11_poster_text": (40, 120),
}
EDGE_PX = 120


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", action="append", help="default: lanczos and imgpipe-lite")
    parser.add_argument("--output", type=Path, default=Path("docs/images/networks.webp"))
    arguments = parser.parse_args()
    upscalers = [
        build_upscaler(UpscaleSettings(model=model), model_dir=load_settings({}).model_dir, device="cpu")
        for model in arguments.model or ("lanczos", "imgpipe-lite")
    ]
    drawn = {one.name: np.asarray(one.image.pixels, np.uint8) for one in draw_samples() if one.name in PARTS}
    rows = []
    for name, (top, left) in PARTS.items():
        original = drawn[name]
        part = np.s_[top : top + EDGE_PX, left : left + EDGE_PX]
        height, width = (side // 4 for side in original.shape[:2])
        small = cv2.resize(original, (width, height), interpolation=cv2.INTER_AREA)
        panels = [panel(original[part], "original")]
        for upscaler in upscalers:
            pixels = upscaler.upscale(Image(np.asarray(small, np.uint8))).image.pixels
            error = np.mean((pixels.astype(np.float64) - original) ** 2)
            caption = f"{upscaler.model.name}: {10 * np.log10(255**2 / error):.1f} dB"
            panels.append(panel(np.asarray(pixels[part], np.uint8), caption))
        rows.append(np.hstack(panels))
    picture = cv2.resize(np.vstack(rows), None, fx=2 / 3, fy=2 / 3, interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(arguments.output), picture[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, 92])


if __name__ == "__main__":
    main()
