"""The door opens for networks that fit; what is not finite is computed again in fp32."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np
import pytest
from spandrel.architectures.ESRGAN import ESRGAN
from torch import nn

from imgpipe.inference.memory_model import MemoryModel
from imgpipe.upscaling.checked_network import CheckedNetwork
from imgpipe.upscaling.cpu import cpu_network, matrix_unit
from imgpipe.upscaling.network import Floats, Network, Strip, strip_of
from imgpipe_tests.upscaling.conftest import around_mid_grey, lively, tiny_compact, tiny_rrdb


class _Full:
    """A network in fp32 that gives a constant."""

    scale, precision, device = 2, "fp32", "cpu"

    def strips(self, windows: Floats) -> Iterator[Strip]:
        count, height, width, _ = windows.shape
        yield strip_of(np.full((count, height * 2, width * 2, 3), 0.5, np.float32), 2)

    def take_retries(self) -> int:
        return 0

    def release_cached_memory(self) -> None: ...


class _FailsLate:
    """Loops of which the second strip is not finite."""

    scale = 2

    def strips(self, windows: Floats) -> Iterator[tuple[Strip, bool]]:
        count, height, width, _ = windows.shape
        for row in range(height):
            strip = strip_of(np.zeros((count, 2, width * 2, 3), np.float32), 2)
            yield Strip(row, strip.levels, strip.mean), row != 1

    def memory_model(self) -> MemoryModel:
        return MemoryModel(1, 1)


def esrgan(blocks: int = 1, scale: int = 4) -> nn.Module:
    """RRDBNet with 64 features around mid grey."""
    return around_mid_grey(lively(ESRGAN(in_nc=3, out_nc=3, num_filters=64, num_blocks=blocks, scale=scale)))


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> None:
    """The unit seems to be there: networks can be made, not run."""
    monkeypatch.setattr(matrix_unit, "is_usable", lambda: True)


def test_without_the_unit_there_is_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matrix_unit, "is_usable", lambda: False)
    assert cpu_network(tiny_compact(features=64), "bf16", _Full()) is None


@pytest.mark.usefixtures("pretended")
def test_both_architectures_are_taken_in_bf16_alone() -> None:
    for module in (tiny_compact(features=64), esrgan()):
        network: Network | None = cpu_network(module, "bf16", _Full())
        assert network is not None
        assert (network.scale, network.precision, network.device) == (4, "bf16", "cpu")
        assert cpu_network(module, "fp32", _Full()) is None
        assert all(values.requires_grad for values in module.parameters()), "left as it was"


def _changed(module: nn.Module, name: str, value: object) -> nn.Module:
    changed = copy.deepcopy(module)
    owner, _, attribute = name.rpartition(".")
    setattr(changed.get_submodule(owner), attribute, value)
    return changed


@pytest.mark.usefixtures("pretended")
@pytest.mark.parametrize(
    "module",
    [
        pytest.param(tiny_compact(features=16), id="16 features"),
        pytest.param(_changed(tiny_compact(features=64), "body.1", nn.LeakyReLU(0.1)), id="no PReLU"),
        pytest.param(tiny_rrdb(), id="ESRGAN with 16 features"),
        pytest.param(
            _changed(esrgan(), "model.1.sub.0.RDB2.conv1x1", nn.Conv2d(64, 32, 1, bias=False)), id="ESRGAN+"
        ),
        pytest.param(_changed(esrgan(), "model.1.sub.0.RDB2.conv3.1.negative_slope", 0.1), id="two slopes"),
        pytest.param(esrgan(scale=3), id="enlarged by 3"),
        pytest.param(ESRGAN(num_blocks=1, upsampler="pixel_shuffle"), id="by pixel-shuffle"),
        pytest.param(_changed(esrgan(), "model.2.mode", "bilinear"), id="bilinear"),
        pytest.param(nn.Conv2d(3, 3, 1), id="another network"),
    ],
)
def test_other_networks_are_not_taken(module: nn.Module) -> None:
    assert cpu_network(module, "bf16", _Full()) is None


@pytest.mark.usefixtures("pretended")
def test_memory_is_known_without_computing() -> None:
    compact, rrdb = (cpu_network(module, "bf16", _Full()) for module in (tiny_compact(features=64), esrgan()))
    assert compact is not None
    assert rrdb is not None
    assert 16 * 2**20 < compact.memory_model().needed_bytes(1024**2) < 512 * 2**20
    needed = [rrdb.memory_model().needed_bytes(edge**2) for edge in (256, 1024)]
    assert 3 * 192 * 2 * 1024**2 < needed[1] < 3 * 2**30
    assert needed[0] < needed[1] / 8


def test_what_is_not_finite_is_computed_again_in_fp32() -> None:
    network = CheckedNetwork(_FailsLate(), "amx", "bf16", _Full())
    strips = list(network.strips(np.zeros((3, 4, 5, 3), np.float32)))
    assert [strip.start for strip in strips] == [0, 0]
    assert strips[-1].levels.shape == (3, 8, 10, 3)
    assert (strips[-1].levels == 32768).all()
    assert network.take_retries() == 3, "all windows of the call"
    assert network.take_retries() == 0
