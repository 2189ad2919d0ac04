"""The script that people write: enlarge every picture of a folder with RealESRGANer, one after the other.

python benchmarks/baselines/sequential.py SOURCE OUTPUT --weights realesr-animevideov3.pth [--tile 512]

Pillow decodes and saves, ``RealESRGANer`` (package realesrgan 0.3.0) enlarges in fp32 on the CPU,
scikit-image scores the round trip with its plain defaults, OpenCV draws the heat map. It is measured by
``benchmarks/end_to_end.py``; nothing of imgpipe is imported here. The last line that it prints is JSON:
seconds per step, model loading and imports apart.
"""

from __future__ import annotations

import time

_STARTED = time.perf_counter()

import argparse  # noqa: E402
import itertools  # noqa: E402
import json  # noqa: E402
import sys  # noqa: E402
import types  # noqa: E402
from collections import defaultdict  # noqa: E402
from pathlib import Path  # noqa: E402

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import PIL.Image  # noqa: E402
import skimage.metrics  # noqa: E402
import torch  # noqa: E402
from torchvision.transforms.functional import rgb_to_grayscale  # noqa: E402

# basicsr imports a torchvision module that is gone since 0.17; it holds one function that it needs.
_alias = types.ModuleType("torchvision.transforms.functional_tensor")
_alias.rgb_to_grayscale = rgb_to_grayscale  # type: ignore[attr-defined]
sys.modules.setdefault(_alias.__name__, _alias)

from realesrgan import RealESRGANer  # noqa: E402
from realesrgan.archs.srvgg_arch import SRVGGNetCompact  # noqa: E402

_IMPORTED = time.perf_counter()

SCALE = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--tile", type=int, default=0, help="RealESRGANer's tile edge; 0 = its default, none")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    begin = time.perf_counter()
    network = SRVGGNetCompact(3, 3, num_feat=64, num_conv=16, upscale=SCALE, act_type="prelu")
    upsampler = RealESRGANer(
        SCALE, str(options.weights), model=network, tile=options.tile, half=False, device=torch.device("cpu")
    )
    loaded = time.perf_counter()
    seconds: defaultdict[str, float] = defaultdict(float)
    for path in sorted(options.source.glob("*.png")):
        process(path, options.output, upsampler, seconds)
    total = time.perf_counter() - _STARTED
    answer = {"imports": _IMPORTED - _STARTED, "load_model": loaded - begin, **seconds}
    answer["rest"] = total - sum(answer.values())
    print(json.dumps({name: round(value, 4) for name, value in answer.items()}))


def process(path: Path, output: Path, upsampler: RealESRGANer, seconds: defaultdict[str, float]) -> None:
    """One picture: its enlargement, its scores and its heat map."""
    marks = [("decode", time.perf_counter())]
    source = np.array(PIL.Image.open(path).convert("RGB"))
    marks.append(("network", time.perf_counter()))
    enlarged = upsampler.enhance(source[..., ::-1], outscale=SCALE)[0][..., ::-1]
    marks.append(("encode", time.perf_counter()))
    PIL.Image.fromarray(np.ascontiguousarray(enlarged)).save(output / path.name)
    marks.append(("score", time.perf_counter()))
    height, width = source.shape[:2]
    again = cv2.resize(enlarged, (width, height), interpolation=cv2.INTER_AREA)
    scores = {
        "psnr": skimage.metrics.peak_signal_noise_ratio(source, again, data_range=255),
        "ssim": skimage.metrics.structural_similarity(source, again, channel_axis=2, data_range=255),
    }
    (output / f"{path.stem}.json").write_text(json.dumps({k: float(v) for k, v in scores.items()}))
    marks.append(("heat_map", time.perf_counter()))
    difference = np.abs(source.astype(np.int16) - again.astype(np.int16)).max(axis=2)
    heat = cv2.applyColorMap(np.minimum(difference * 8, 255).astype(np.uint8), cv2.COLORMAP_TURBO)
    PIL.Image.fromarray(heat[..., ::-1]).save(output / f"{path.stem}.diff.png")
    marks.append(("", time.perf_counter()))
    for (name, begin), (_, end) in itertools.pairwise(marks):
        seconds[name] += end - begin


if __name__ == "__main__":
    main()
