"""The networks of this package: the registered bytes, and pictures from them without torch."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from safetensors.numpy import load_file

from imgpipe.images.image import Image
from imgpipe.inference.device import resolve_precision
from imgpipe.inference.download import pull
from imgpipe.inference.weights import REGISTRY, Weights, locate
from imgpipe.settings import UpscaleSettings
from imgpipe.upscaling.build import build_upscaler, fingerprint

SHIPPED = [entry for entry in REGISTRY.values() if entry.shipped]

#: Whole and in tiles, of a picture with alpha in 16 bits and odd sides.
ENLARGING = """
import sys
for name in ("torch", "numba", "spandrel", "safetensors", "onnxruntime"):
    sys.modules[name] = None
import json
from pathlib import Path
import numpy as np
from imgpipe.images.image import Image
from imgpipe.settings import UpscaleSettings
from imgpipe.upscaling.build import build_upscaler
pixels = np.random.default_rng(0).integers(0, 65536, (67, 41, 4)).astype(np.uint16)
whole, tiled = (
    build_upscaler(
        UpscaleSettings(model="imgpipe-lite", tile_size=size, precision="fp32"), model_dir=Path("none")
    )
    for size in (0, 32)
)
one, other = (each.upscale(Image(pixels)) for each in (whole, tiled))
equal = np.array_equal(one.image.pixels, other.image.pixels)
print(json.dumps([*one.image.pixels.shape, one.image.bit_depth, equal, whole.halo_px, whole.model.backend]))
"""


@pytest.mark.parametrize("entry", SHIPPED, ids=lambda entry: entry.name)
def test_the_files_are_the_registered_ones_and_small(entry: Weights, tmp_path: Path) -> None:
    path = pull(entry, tmp_path / "never made")
    assert hashlib.sha256(path.read_bytes()).hexdigest() == entry.sha256
    assert locate(entry.name, entry.task, tmp_path).path == path
    tensors = path.with_suffix(".safetensors")
    assert entry.size_bytes == path.stat().st_size <= 250_000
    assert tensors.stat().st_size <= 250_000
    assert not list(tmp_path.iterdir())
    in_graph = [onnx.numpy_helper.to_array(one) for one in onnx.load(path).graph.initializer]
    # The graph's last convolution has its channels in another order.
    halves = {np.sort(one.astype(np.float16), None).tobytes() for one in in_graph}
    beside = load_file(tensors)
    assert all(one.dtype == np.float16 and np.sort(one, None).tobytes() in halves for one in beside.values())


def test_it_enlarges_without_torch_and_in_exact_tiles() -> None:
    done = subprocess.run([sys.executable, "-c", ENLARGING], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [268, 164, 4, 16, True, 12, "onnx"]


def test_it_follows_the_precision_with_a_small_difference(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (6, 8, 3)).astype(np.float32)
    image = Image(
        np.rint(cv2.resize(noise, (48, 36), interpolation=cv2.INTER_CUBIC).clip(0, 255)).astype(np.uint8)
    )
    pixels = {}
    for precision in ("fp32", "auto"):
        settings = UpscaleSettings(model="imgpipe-lite", precision=precision)
        upscaler = build_upscaler(settings, model_dir=tmp_path, device="cpu")
        assert upscaler.model.precision == resolve_precision(precision, "cpu")
        pixels[precision] = upscaler.upscale(image).image.pixels.astype(np.int16)
    difference = np.abs(pixels["auto"] - pixels["fp32"])
    assert difference.max() <= 4, f"max {difference.max()}, mean {difference.mean():.3f}"


def test_the_network_for_half_the_scale_is_chosen_where_it_is_enough(tmp_path: Path) -> None:
    def of(model: str, **more: object) -> str:
        return fingerprint(UpscaleSettings.model_validate({"model": model, **more}), tmp_path)

    assert of("imgpipe-lite", scale=2) == of("imgpipe-lite-x2", scale=2)
    assert of("imgpipe-lite", scale=1.5) == of("imgpipe-lite-x2", scale=1.5)
    assert of("imgpipe-lite", scale=2.5) != of("imgpipe-lite-x2", scale=2.5)
    assert of("imgpipe-lite", scale=2, target_size=(64, 64)) != of(
        "imgpipe-lite-x2", scale=2, target_size=(64, 64)
    )


def test_it_takes_the_place_of_missing_weights_on_record(tmp_path: Path) -> None:
    settings = UpscaleSettings(fallback="lite", backend="spandrel")
    model = build_upscaler(settings, model_dir=tmp_path, device="cpu").model
    assert (model.name, model.backend) == ("imgpipe-lite", "onnx")
    assert "realesrgan-anime-6b" in model.fallback_reason
    assert fingerprint(settings, tmp_path) == fingerprint(UpscaleSettings(model="imgpipe-lite"), tmp_path)


def test_packages_that_come_later_make_other_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "any.safetensors"
    path.write_bytes(b"x")
    settings = UpscaleSettings(model=str(path), fallback="lite")
    with_packages = fingerprint(settings, tmp_path)
    monkeypatch.setattr("imgpipe.upscaling.build._NEEDED_PACKAGES", {"spandrel": ("none",), "onnx": ()})
    assert fingerprint(settings, tmp_path) != with_packages
    without = settings.model_copy(update={"fallback": "fail"})
    assert fingerprint(without, tmp_path) == with_packages, "who only plans needs no packages"


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("side", [1, 24])
def test_a_flat_colour_stays_so_at_the_border(scale: int, side: int) -> None:
    red = np.full((side, side, 3), (200, 10, 10), np.uint8)
    large = build_upscaler(UpscaleSettings(model="imgpipe-lite", scale=scale), model_dir=Path("none"))
    difference = large.upscale(Image(red)).image.pixels.astype(int) - red[0, 0]
    assert np.abs(difference).max() <= 4
