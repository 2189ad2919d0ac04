"""Makes docs/images/networks.png: a part of one sample drawing, reduced by 4 and enlarged by several models.

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

#: Top, left, height, width of the part, px.
PART = (88, 120, 160, 160)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", action="append", help="default: lanczos and imgpipe-lite")
    parser.add_argument("--drawing", default="01_portrait_flat")
    parser.add_argument("--output", type=Path, default=Path("docs/images/networks.png"))
    arguments = parser.parse_args()
    drawn = next(one for one in draw_samples() if one.name == arguments.drawing)
    original = np.asarray(drawn.image.pixels, np.uint8)
    height, width = (side // 4 for side in original.shape[:2])
    small = cv2.resize(original, (width, height), interpolation=cv2.INTER_AREA)
    results = {}
    for model in arguments.model or ("lanczos", "imgpipe-lite"):
        settings = UpscaleSettings(model=model)
        upscaler = build_upscaler(settings, model_dir=load_settings({}).model_dir, device="cpu")
        enlarged = upscaler.upscale(Image(np.asarray(small, np.uint8))).image
        results[upscaler.model.name] = np.asarray(enlarged.pixels, np.uint8)
    top, left, high, wide = PART
    panels = [panel(original[top : top + high, left : left + wide], "original")]
    for name, pixels in results.items():
        error = np.mean((pixels.astype(np.float64) - original) ** 2)
        caption = f"{name}: {10 * np.log10(255**2 / error):.1f} dB"
        panels.append(panel(pixels[top : top + high, left : left + wide], caption))
    cv2.imwrite(str(arguments.output), np.hstack(panels)[..., ::-1])


if __name__ == "__main__":
    main()
