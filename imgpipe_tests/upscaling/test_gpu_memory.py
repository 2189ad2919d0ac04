"""What a window is planned to take on a GPU, against the tensors of the whole way through the network.

On the meta device, where tensors have sizes and no values; in low precision the first try is taken to fail,
so that the same window is computed again in fp32.
"""

from __future__ import annotations

import numpy as np
import pytest
from spandrel.architectures.Compact.__arch.SRVGG import SRVGGNetCompact
from spandrel.architectures.ESRGAN.__arch.RRDB import RRDBNet
from torch import Tensor, nn

from imgpipe.inference import torch_network
from imgpipe.inference.torch_network import Form, TorchNetwork, _LiveBytes
from imgpipe.upscaling import network_forms, quantising_network
from imgpipe.upscaling.network_forms import CompactForm, EsrganForm
from imgpipe.upscaling.quantising_network import QuantisingNetwork

SCALE = 4
NETWORKS: dict[str, tuple[type[nn.Module], dict[str, int], Form]] = {
    "animevideov3": (SRVGGNetCompact, {"num_feat": 64, "num_conv": 16, "upscale": SCALE}, CompactForm),
    "anime-6b": (
        RRDBNet,
        {"num_filters": 64, "num_blocks": 6, "scale": SCALE, "in_nc": 3, "out_nc": 3},
        EsrganForm,
    ),
}


@pytest.fixture
def on_meta(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Tensors without values stand in for a GPU's; the list says how strips are found, from the front."""
    finite: list[bool] = []
    monkeypatch.setitem(network_forms._TAIL_PIXELS, "meta", network_forms._TAIL_PIXELS["cuda"])
    monkeypatch.setattr(torch_network, "_is_finite", lambda _: finite.pop(0) if finite else True)

    def stay(start: int, values: Tensor, scale: int) -> tuple[Tensor, Tensor]:
        return quantising_network._quantised(values, scale)

    monkeypatch.setattr(quantising_network, "strip_of_rows", stay)
    return finite


def taken_bytes(network: QuantisingNetwork, edge: int, finite: list[bool]) -> int:
    if network.precision != "fp32":
        finite.append(False)
    with _LiveBytes() as live:
        for _ in network.strips(np.zeros((1, edge, edge, 3), np.float32)):
            pass
    assert network.take_retries() == (network.precision != "fp32")
    return int(live.peak)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("name", NETWORKS)
def test_planned_is_what_tensors_take(name: str, precision: str, on_meta: list[bool]) -> None:
    architecture, arguments, form = NETWORKS[name]
    inner = TorchNetwork(
        architecture(**arguments), scale=SCALE, device="meta", precision=precision, form=form
    )
    network = QuantisingNetwork(inner)
    model = network.memory_model()
    ratios = {}
    for edge in (384, 800, 1600, 3000):  # none of those that the model was made from
        planned = model.needed_bytes(edge**2)
        ratios[edge] = planned / taken_bytes(network, edge, on_meta)
        assert model.fitting_pixels(planned) == pytest.approx(edge**2, rel=0.001)
    assert all(0.8 <= ratio <= 1.5 for ratio in ratios.values()), ratios
