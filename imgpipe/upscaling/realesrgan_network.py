"""The ``realesrgan`` package's own network classes and loader, for parity with scripts that use it.

``RealESRGANer`` loads and pads; its ``enhance`` is left out: that pastes the previous tile again where
memory runs out, returns a quarter of the picture for some factors, wants BGR, guesses the bit depth from
the brightest pixel and enlarges straight alpha. Tiles, alpha and depth are ours, around its ``process``.
"""

from __future__ import annotations

import copy
import re
import sys
import tempfile
import types
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from imgpipe.errors import PackagesMissing, WeightsRefused
from imgpipe.inference.memory_model import ASSUMED_MEMORY
from imgpipe.inference.state_dict import bounded_building, check_sizes, read_state_dict
from imgpipe.inference.torch_network import TorchNetwork
from imgpipe.inference.weights import LocatedWeights
from imgpipe.upscaling import receptive_field
from imgpipe.upscaling.device_network import TorchDeviceNetwork
from imgpipe.upscaling.network import LoadedNetwork, ReceptiveField
from imgpipe.upscaling.quantising_network import QuantisingNetwork

_GONE = "torchvision.transforms.functional_tensor"


def load_network(located: LocatedWeights, *, device: str, precision: str) -> LoadedNetwork:
    """The network in ``located`` as the package builds and runs it.

    ``precision``: fp32, or fp16 as the package's ``half``; ``auto`` is fp16 on a GPU. Raises
    :class:`WeightsRefused` (not in the package's format) and :class:`PackagesMissing`.
    """
    state = _state(located)
    upsampler_class, rrdb, compact = _package()
    with bounded_building(located.path):
        architecture, network, scale = _network(state, rrdb, compact, located)
    used = "fp16" if precision == "fp16" or (precision == "auto" and device != "cpu") else "fp32"
    reasons: tuple[str, ...] = ()
    if precision not in ("auto", used):
        reasons = (f"precision {precision} was asked for: the package has fp32 and fp16, {used} is used",)
    padded_to = {1: 4, 2: 2}.get(scale, 1)
    field = receptive_field.of_convolutions(network)
    with tempfile.NamedTemporaryFile(suffix=".pth") as file:  # the package only takes a path
        torch.save({"params": state}, file.name)
        upsampler = _loaded(upsampler_class, scale, file.name, network, located)
    inner = TorchNetwork(
        _Process(upsampler),
        scale=scale,
        device=device,
        precision=used,
        form=lambda module, dtype, _: copy.deepcopy(module).to(dtype),
    )
    return LoadedNetwork(
        QuantisingNetwork(inner) if device == "cpu" else TorchDeviceNetwork(inner),
        backend="realesrgan",
        runtime="torch",
        architecture=architecture,
        # A network that first packs pixels into channels sees up to a pack more.
        receptive_field=ReceptiveField(field.radius_px + padded_to - 1, field.source),
        memory=ASSUMED_MEMORY,
        multiple_of=padded_to,
        reasons=reasons,
    )


class _Process(nn.Module):
    """``RealESRGANer``'s own steps around its network, on one window: (1, 3, h, w) in 0..1."""

    def __init__(self, upsampler: Any) -> None:
        super().__init__()
        self.network: nn.Module = upsampler.model
        self.upsampler = upsampler

    def forward(self, pixels: Tensor) -> Tensor:
        upsampler = self.upsampler
        weight = next(self.network.parameters())
        upsampler.model, upsampler.device = self.network, weight.device
        upsampler.half = weight.dtype == torch.float16
        results = []
        for window in pixels.permute(0, 2, 3, 1).cpu().numpy():
            upsampler.pre_process(np.ascontiguousarray(window))
            upsampler.process()
            results.append(upsampler.post_process().float())
        upsampler.img = upsampler.output = None  # it would keep the last window
        return torch.cat(results)


def _state(located: LocatedWeights) -> dict[str, Tensor]:
    values = read_state_dict(located.path)
    values = next((values[key] for key in ("params_ema", "params") if key in values), values)
    return check_sizes(values, located.path)


def _package() -> tuple[Any, Any, Any]:
    """(RealESRGANer, RRDBNet, SRVGGNetCompact)."""
    try:
        with _missing_module():
            rrdb = import_module("basicsr.archs.rrdbnet_arch").RRDBNet
            upsampler = import_module("realesrgan").RealESRGANer
            compact = import_module("realesrgan.archs.srvgg_arch").SRVGGNetCompact
    except ImportError as exc:
        raise PackagesMissing(
            f"upscale.backend=realesrgan: the package cannot be imported ({exc}); "
            "install imgpipe[realesrgan], then `pip install --no-deps realesrgan basicsr`, "
            "or set upscale.backend to auto"
        ) from exc
    return upsampler, rrdb, compact


@contextmanager
def _missing_module() -> Iterator[None]:
    """What basicsr asks of torchvision and torchvision has dropped in 0.17, for the time of its import."""
    alias = types.ModuleType(_GONE)
    functional = import_module("torchvision.transforms.functional")
    alias.rgb_to_grayscale = functional.rgb_to_grayscale  # type: ignore[attr-defined]
    was_there = _GONE in sys.modules
    sys.modules.setdefault(_GONE, alias)
    try:
        yield
    finally:
        if not was_there:
            sys.modules.pop(_GONE, None)


def _network(
    state: Mapping[str, Tensor], rrdb: Any, compact: Any, located: LocatedWeights
) -> tuple[str, nn.Module, int]:
    """(architecture, network, scale) that the tensors' names and shapes speak of."""
    if "conv_first.weight" in state and "body.0.rdb1.conv1.weight" in state:
        features, inputs = state["conv_first.weight"].shape[:2]
        scale = {3: 4, 12: 2, 48: 1}.get(inputs)
        blocks = 1 + max(int(found[1]) for name in state if (found := re.match(r"body\.(\d+)\.", name)))
        growth = state["body.0.rdb1.conv1.weight"].shape[0]
        if scale is not None:
            network = rrdb(3, 3, scale=scale, num_feat=features, num_block=blocks, num_grow_ch=growth)
            return "RRDBNet", network, scale
    elif "body.0.weight" in state:
        last = max(int(found[1]) for name in state if (found := re.match(r"body\.(\d+)\.weight", name)))
        scale = round((state[f"body.{last}.weight"].shape[0] / 3) ** 0.5)
        features = state["body.0.weight"].shape[0]
        act_type = "prelu" if "body.1.weight" in state else "relu"
        network = compact(3, 3, features, num_conv=(last - 2) // 2, upscale=scale, act_type=act_type)
        return "SRVGGNetCompact", network, scale
    raise WeightsRefused(
        f"{located.path}: expected the tensors of an RRDBNet or SRVGGNetCompact as the realesrgan package "
        "names them; set upscale.backend to auto, spandrel knows more formats"
    )


def _loaded(upsampler_class: Any, scale: int, path: str, network: nn.Module, located: LocatedWeights) -> Any:
    try:
        return upsampler_class(
            scale, path, model=network, tile=0, pre_pad=0, half=False, device=torch.device("cpu")
        )
    except RuntimeError as exc:
        raise WeightsRefused(
            f"{located.path}: expected the tensors of the network that its names speak of, they do not fit: "
            f"{str(exc).splitlines()[0][:200]}; fetch the file again"
        ) from exc
