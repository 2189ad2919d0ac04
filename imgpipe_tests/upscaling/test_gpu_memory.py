"""What a window is planned to take on a GPU, against the tensors of the whole way through the network.

On the meta device, where tensors have sizes and no values; in low precision the first try is taken to fail,
so that the same window is computed again in fp32.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from spandrel.architectures.Compact.__arch.SRVGG import SRVGGNetCompact
from spandrel.architectures.ESRGAN.__arch.RRDB import RRDBNet
from torch import Tensor, nn

from imgpipe.inference.copies import Copies, Ring
from imgpipe.inference.torch_network import Form, TorchNetwork, _LiveBytes
from imgpipe.upscaling import network_forms
from imgpipe.upscaling.device_network import Held, TorchDeviceNetwork
from imgpipe.upscaling.network import Finishing, Part, Sent
from imgpipe.upscaling.network_forms import CompactForm, EsrganForm
from imgpipe.upscaling.tiling import Span

SCALE = 4
NETWORKS: dict[str, tuple[type[nn.Module], dict[str, int], Form]] = {
    "animevideov3": (SRVGGNetCompact, {"num_feat": 64, "num_conv": 16, "upscale": SCALE}, CompactForm),
    "anime-6b": (
        RRDBNet,
        {"num_filters": 64, "num_blocks": 6, "scale": SCALE, "in_nc": 3, "out_nc": 3},
        EsrganForm,
    ),
}


class _MetaCopies(Copies):
    """Tensors without values stand in for a GPU's; what is on its way to the host is still there."""

    def buffer(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        return torch.empty(tuple(shape), dtype=dtype, device="meta")


@pytest.fixture(autouse=True)
def strips_as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(network_forms._TAIL_PIXELS, "meta", network_forms._TAIL_PIXELS["cuda"])


def taken_bytes(network: TorchDeviceNetwork, edge: int) -> int:
    span, copies, sent = Span(0, edge, 0, edge), _MetaCopies(Ring(2**40)), list[Sent]()
    with _LiveBytes() as live:
        pixels = copies.buffer((edge, edge, 3), torch.float32)
        part = Part(Held(pixels, pixels[..., 0]), span, span, Finishing(8, True))
        for full in (False, True):
            network.start([part], lambda _, one: sent.append(one), full=full)
    assert len(sent) == 2
    return int(live.peak)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("name", NETWORKS)
def test_planned_is_what_tensors_take(name: str, precision: str) -> None:
    architecture, arguments, form = NETWORKS[name]
    inner = TorchNetwork(
        architecture(**arguments), scale=SCALE, device="meta", precision=precision, form=form
    )
    network = TorchDeviceNetwork(inner, _MetaCopies(Ring(2**40)))
    model = network.memory_model()
    ratios = {}
    for edge in (384, 800, 1600, 3000):  # none of those that the model was made from
        planned = model.needed_bytes(edge**2)
        ratios[edge] = planned / taken_bytes(network, edge)
        assert model.fitting_pixels(planned) == pytest.approx(edge**2, rel=0.001)
    assert all(0.8 <= ratio <= 1.5 for ratio in ratios.values()), ratios
