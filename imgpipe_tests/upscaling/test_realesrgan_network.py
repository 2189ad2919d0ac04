"""The package's networks on our tiles: the same pictures as its own ``enhance``, without its faults."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from imgpipe.errors import WeightsRefused
from imgpipe.images.image import Image
from imgpipe.settings import UpscaleSettings
from imgpipe.upscaling.build import build_upscaler, fingerprint
from imgpipe_tests.imports import loaded_by
from imgpipe_tests.upscaling.conftest import Picture, lively, tiny_compact

# Not imported here: it only imports through the adapter.
pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("realesrgan", "basicsr")),
    reason="the realesrgan package is optional and not installed",
)


def _networks() -> dict[str, torch.nn.Module]:
    from imgpipe.upscaling.realesrgan_network import _package

    _, rrdb, compact = _package()
    networks = {
        f"rrdb{scale}": rrdb(3, 3, scale=scale, num_feat=8, num_block=1, num_grow_ch=4) for scale in (2, 4)
    }
    networks["compact"] = compact(3, 3, num_feat=8, num_conv=3, upscale=4)
    for module in networks.values():
        lively(module)
    return networks


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("weights")
    paths = {}
    for name, network in _networks().items():
        paths[name] = folder / f"{name}.pth"
        torch.save({"params_ema": network.state_dict()}, paths[name])
    return paths


def _build(path: Path, **settings: Any) -> Any:
    chosen = UpscaleSettings(model=str(path), backend="realesrgan", color_match=False, **settings)
    return build_upscaler(chosen, model_dir=path.parent, device="cpu")


@pytest.mark.parametrize(("name", "scale"), [("compact", 4), ("rrdb4", 4), ("rrdb2", 2)])
def test_it_is_what_the_package_makes(
    name: str, scale: int, files: dict[str, Path], picture: Picture
) -> None:
    from imgpipe.upscaling.realesrgan_network import _package

    upsampler_class, _, _ = _package()
    image = picture(45, 33)
    upsampler = upsampler_class(
        scale,
        str(files[name]),
        model=_networks()[name],
        tile=0,
        pre_pad=0,
        half=False,
        device=torch.device("cpu"),
    )
    expected = upsampler.enhance(image.pixels[..., ::-1], outscale=scale)[0][..., ::-1]
    result = _build(files[name], scale=scale).upscale(image)
    assert (result.model.backend, result.model.precision) == ("realesrgan", "fp32")
    assert np.abs(result.image.pixels.astype(int) - expected).max() <= 1
    whole = _build(files[name], scale=scale, tile_size=0).upscale(image)
    tiled = _build(files[name], scale=scale, tile_size=32).upscale(picture(90, 45))
    untiled = _build(files[name], scale=scale, tile_size=0).upscale(picture(90, 45))
    assert len(tiled.tile_grid.xs) > 0 == len(whole.tile_grid.xs)
    assert np.abs(tiled.image.pixels.astype(int) - untiled.image.pixels).max() <= 1


def test_a_dark_16_bit_picture_is_no_8_bit_one(files: dict[str, Path]) -> None:
    dark = Image(np.full((20, 20, 3), 200, np.uint16))
    result = _build(files["compact"]).upscale(dark).image.pixels
    same = _build(files["compact"]).upscale(Image(np.full((20, 20, 3), 1, np.uint8))).image.pixels
    assert np.abs(result / 257 - same).max() < 2


def test_safetensors_and_other_names(tmp_path: Path, files: dict[str, Path], picture: Picture) -> None:
    state = torch.load(files["compact"], weights_only=True)["params_ema"]
    path = tmp_path / "compact.safetensors"
    save_file(state, path)
    image = picture(24, 24)
    expected = _build(files["compact"]).upscale(image).image.pixels
    np.testing.assert_array_equal(_build(path).upscale(image).image.pixels, expected)
    save_file({"layer.weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(WeightsRefused, match="RRDBNet or SRVGGNetCompact"):
        _build(tmp_path / "other.safetensors")
    state.pop("body.2.weight")
    save_file(state, path)
    with pytest.raises(WeightsRefused, match="do not fit"):
        _build(path)


def test_the_backend_is_in_the_fingerprint(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"one")
    settings = UpscaleSettings(model=str(path))
    other = settings.model_copy(update={"backend": "realesrgan"})
    assert fingerprint(settings, tmp_path) != fingerprint(other, tmp_path)


def test_the_alias_does_not_outlive_the_import() -> None:
    code = "from imgpipe.upscaling.realesrgan_network import _package; _package()"
    assert loaded_by(code, ("torchvision.transforms.functional_tensor",)) == []


def test_spandrel_and_the_package_agree(tmp_path: Path, picture: Picture) -> None:
    path = tmp_path / "both.safetensors"
    save_file({name: value.contiguous() for name, value in tiny_compact().state_dict().items()}, path)
    image = picture(40, 30)
    ours = build_upscaler(
        UpscaleSettings(model=str(path), color_match=False, precision="fp32"),
        model_dir=tmp_path,
        device="cpu",
    ).upscale(image)
    theirs = _build(path).upscale(image)
    assert np.abs(ours.image.pixels.astype(int) - theirs.image.pixels).max() <= 1
