"""Only files that are safe and networks that do what they say are loaded."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from imgpipe.errors import ModelMismatch, WeightsRefused
from imgpipe.inference.weights import REGISTRY, LocatedWeights
from imgpipe.upscaling.network import NATIVE_MAX, Floats, Network
from imgpipe.upscaling.spandrel_network import load_network
from imgpipe_tests.upscaling.conftest import Save, tiny_compact, tiny_rrdb


def _located(path: Path, registered: str = "") -> LocatedWeights:
    return LocatedWeights(registered or path.stem, path, "0" * 64, REGISTRY.get(registered))


def _levels(network: Network, window: Floats) -> Floats:
    """(h, w, 3) -> (h * scale, w * scale, 3) in 0..1."""
    levels = np.concatenate([strip.levels[0] for strip in network.strips(window[None])])
    return levels.astype(np.float32) / np.float32(NATIVE_MAX)


def _load(path: Path, registered: str = "") -> object:
    return load_network(_located(path, registered), device="cpu", precision="fp32")


def test_both_architectures_equal_their_own_forward(save: Save) -> None:
    window = np.random.default_rng(0).random((23, 31, 3), dtype=np.float32)
    for module, name in ((tiny_compact(), "Compact"), (tiny_rrdb(), "ESRGAN")):
        loaded = load_network(_located(save(module, name)), device="cpu", precision="fp32")
        with torch.inference_mode():
            expected = module(torch.from_numpy(window).permute(2, 0, 1)[None])
        assert loaded.architecture == name
        assert loaded.runtime == "openvino"
        result = torch.from_numpy(_levels(loaded.network, window)).permute(2, 0, 1)[None]
        torch.testing.assert_close(result, expected.clamp(0, 1), atol=1e-5 + 0.5 / NATIVE_MAX, rtol=0)


def test_pth_files_load_as_state_dicts(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    torch.save({"params": tiny_compact().state_dict()}, path)
    assert load_network(_located(path), device="cpu", precision="fp32").architecture == "Compact"


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path: Path) -> None:
    trace = tmp_path / "was-run"

    class Hostile:
        def __reduce__(self) -> tuple[object, tuple[str, ...]]:
            return Path.touch, (Path(trace),)  # type: ignore[return-value]

    for name, write in (
        ("zip.pth", lambda path: torch.save({"params": Hostile()}, path)),
        ("legacy.pth", lambda path: path.write_bytes(pickle.dumps(Hostile()))),
    ):
        path = tmp_path / name
        write(path)
        with pytest.raises(WeightsRefused, match=name):
            _load(path)
        assert not trace.exists()


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning", "ignore:.*torch.jit:DeprecationWarning")
def test_torchscript_is_refused_under_any_name(tmp_path: Path) -> None:
    module = torch.jit.script(nn.Conv2d(3, 3, 1))
    for name, message in (("model.pth", "TorchScript"), ("model.pt", "without running code")):
        torch.jit.save(module, str(tmp_path / name))
        with pytest.raises(WeightsRefused, match=message):
            _load(tmp_path / name)


@pytest.mark.parametrize("kept", [0, 4, 100, 5000])
def test_truncated_safetensors_are_refused(save: Save, kept: int) -> None:
    path = save(tiny_compact(), "cut")
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(WeightsRefused, match=r"cut\.safetensors"):
        _load(path)


def test_an_unknown_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"layer.weight": torch.zeros(3)}, path)
    with pytest.raises(WeightsRefused, match=r"other\.safetensors.*spandrel"):
        _load(path)


def test_another_scale_than_registered_is_a_mismatch(save: Save) -> None:
    with pytest.raises(ModelMismatch, match=r"expected scale 4.*enlarges by 2"):
        _load(save(tiny_compact(scale=2), "two"), "realesr-animevideov3")


def test_other_channels_than_rgb_are_a_mismatch(save: Save) -> None:
    with pytest.raises(ModelMismatch, match="3 channels"):
        _load(save(tiny_compact(channels=1), "grey"))


def test_weights_with_nan_are_a_mismatch(save: Save) -> None:
    module = tiny_compact()
    with torch.no_grad():
        dict(module.named_parameters())["body.0.bias"][0] = float("nan")
    with pytest.raises(ModelMismatch, match="finite"):
        _load(save(module, "nan"))


def test_bf16_is_near_fp32(save: Save) -> None:
    window = np.random.default_rng(0).random((24, 24, 3), dtype=np.float32)
    path = save(tiny_compact(), "compact")
    full, low = (
        _levels(load_network(_located(path), device="cpu", precision=precision).network, window)
        for precision in ("fp32", "bf16")
    )
    error = np.abs(full - low)
    assert 0 < error.mean() < 0.004, f"mean {error.mean():.5f}, max {error.max():.5f}"
