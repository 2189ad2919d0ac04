"""Loading a weights file into a network that is known to do what it says.

spandrel recognises the architecture from the tensors; it is given no file, only what
:mod:`imgpipe.inference.state_dict` has read from one. Imported only where a network runs: this module
loads torch.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import spandrel
import torch
from torch import Tensor, nn

from imgpipe.errors import InferenceError, ModelMismatch, WeightsRefused
from imgpipe.inference.device import PrecisionSetting, resolve_precision
from imgpipe.inference.failures import last_line
from imgpipe.inference.memory_model import MemoryModel
from imgpipe.inference.openvino_network import Graph, of_module
from imgpipe.inference.state_dict import bounded_building, check_sizes, read_state_dict
from imgpipe.inference.torch_network import Form, TorchNetwork, cast_whole, memory_of
from imgpipe.inference.weights import LocatedWeights
from imgpipe.upscaling import receptive_field
from imgpipe.upscaling.checked_network import CheckedNetwork
from imgpipe.upscaling.cpu import cpu_network
from imgpipe.upscaling.device_network import TorchDeviceNetwork
from imgpipe.upscaling.graph_loops import GraphLoops, with_levels
from imgpipe.upscaling.network import NATIVE_MAX, Floats, LoadedNetwork, Network, ReceptiveField
from imgpipe.upscaling.network_forms import (
    CompactForm,
    EsrganForm,
    Parts,
    has_compact_form,
    has_esrgan_form,
    parts_of,
)
from imgpipe.upscaling.quantising_network import QuantisingNetwork

#: Architectures that consist of plain convolutions, so that their receptive field is a sum.
_CONVOLUTIONAL = ("Compact", "ESRGAN")

_PROBE_WIDTH_PX, _PROBE_HEIGHT_PX = 20, 16

#: (n, h, w) of pictures on which OpenVINO's network must agree with torch's: none has the size of the other.
_COMPARED_SHAPES = ((1, 16, 20), (2, 29, 23))

#: Largest difference there, in 0..1, by precision: rounding stays far below, a wrong conversion above.
_AGREEMENT = {"fp32": 0.001, "bf16": 0.2, "fp16": 0.05}

#: OpenVINO's working memory against the tensors of torch's fp32 module, for those with strips and those
#: without: measured 1.2 to 2.3 for the 6B network and 1.8 to 1.95 for animevideov3.
_OPENVINO_FACTORS = {True: 2.4, False: 2.0}


def load_network(located: LocatedWeights, *, device: str, precision: PrecisionSetting) -> LoadedNetwork:
    """The network in ``located`` on ``device``, checked against its descriptor and on a small picture.

    ``precision``: the setting; replaced, with a reason, where the architecture cannot take it.
    Raises :class:`WeightsRefused` (unsafe, damaged or unknown file) and :class:`ModelMismatch` (another
    scale than registered, not 3 channels in and out, wrong size or NaN on the probe).
    """
    descriptor = _read(located.path)
    _check_descriptor(descriptor, located)
    used, reasons = _possible_precision(descriptor, resolve_precision(precision, device))
    module, form = _module_and_form(descriptor)
    scale = int(descriptor.scale)
    _check_on_probe(module, scale, located.path)
    network, more = _chosen(module, form, scale, device, used)
    return LoadedNetwork(
        network,
        backend="spandrel",
        runtime=network.runtime,
        architecture=str(descriptor.architecture.id),
        receptive_field=_receptive_field(descriptor, module),
        memory=network.memory_model(),
        multiple_of=descriptor.size_requirements.multiple_of,
        tileable=descriptor.tiling == spandrel.ModelTiling.SUPPORTED,
        reasons=(*reasons, *more),
    )


def _chosen(
    module: nn.Module, form: Form, scale: int, device: str, precision: str
) -> tuple[CheckedNetwork | QuantisingNetwork, tuple[str, ...]]:
    """What runs ``module``, and why it is torch where a CPU should have another.

    On CUDA it is torch; on a CPU its matrix unit where that can be, else OpenVINO, else torch.
    """

    def by_torch(precision: str) -> QuantisingNetwork:
        inner = TorchNetwork(module, scale=scale, device=device, precision=precision, form=form)
        return QuantisingNetwork(inner) if device == "cpu" else TorchDeviceNetwork(inner)

    if device != "cpu":
        return by_torch(precision), ()
    full: CheckedNetwork | QuantisingNetwork
    try:
        converted = _Converted(module, scale)
        full = converted.network("fp32", None)
    except (ModelMismatch, InferenceError) as exc:
        converted, why_torch = None, str(exc)
        full = by_torch("fp32")
    by_matrix_unit = cpu_network(module, precision, full)
    if by_matrix_unit is not None:
        return by_matrix_unit, ()
    if converted is not None:
        try:
            return full if precision == "fp32" else converted.network(precision, full), ()
        except (ModelMismatch, InferenceError) as exc:
            why_torch = str(exc)
    return by_torch(precision), (f"torch runs the network, not OpenVINO: {why_torch}",)


class _Converted:
    """A module as OpenVINO's models. Raises :class:`ModelMismatch` where there is no conversion."""

    def __init__(self, module: nn.Module, scale: int) -> None:
        self._module, self._scale, self._parts = module, scale, parts_of(module)
        example = torch.zeros((1, 3, _PROBE_HEIGHT_PX, _PROBE_WIDTH_PX))
        self._whole = []
        with torch.inference_mode():
            for part, _ in self._parts.whole:
                self._whole.append(of_module(part, example))
                example = part(example)
            self._tail = with_levels(of_module(self._parts.tail, example), scale)

    def network(self, precision: str, full: Network | None) -> CheckedNetwork:
        """The network in ``precision``, compared with torch's at several sizes.

        Raises :class:`ModelMismatch` and :class:`InferenceError` where OpenVINO cannot run it rightly.
        """
        whole = [
            Graph(model, "fp32" if keeps_fp32 else precision)
            for model, (_, keeps_fp32) in zip(self._whole, self._parts.whole, strict=True)
        ]
        memory = _memory(self._module, self._parts)
        loops = GraphLoops(Graph(self._tail, precision), self._scale, memory, whole, self._parts.cut)
        for shape in _COMPARED_SHAPES:
            windows = np.random.default_rng(0).random((*shape, 3), dtype=np.float32)
            with torch.inference_mode():
                result = self._module(torch.from_numpy(windows).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
            levels = np.concatenate([strip.levels for strip, _ in loops.strips(windows)], axis=1)
            error = float(np.abs(levels / np.float32(NATIVE_MAX) - result.clamp(0, 1).numpy()).max())
            if error > _AGREEMENT[precision]:
                raise ModelMismatch(f"its result differs by {error:.2g} of 1 in {precision}")
        return CheckedNetwork(loops, Graph.runtime, precision, full)


def _read(path: Path) -> Any:
    """The descriptor of a file; everything that can go wrong in it becomes :class:`WeightsRefused`."""
    state = read_state_dict(path)
    try:
        state = check_sizes(spandrel.canonicalize_state_dict(state), path)
        with bounded_building(path):
            descriptor = spandrel.ModelLoader(device="cpu").load_from_state_dict(state)
    except WeightsRefused:
        raise
    except Exception as exc:  # spandrel's code on names and shapes of the file's choice
        raise WeightsRefused(
            f"{path}: expected the state dict of a network that spandrel {spandrel.__version__} knows, "
            f"got one that does not load ({last_line(exc)}); "
            "fetch it again, or give a .safetensors of a supported architecture"
        ) from exc
    if not isinstance(descriptor, spandrel.ImageModelDescriptor):
        raise WeightsRefused(
            f"{path}: expected a network from image to image, got {descriptor.architecture.name}, "
            "which needs a mask as well; choose a super-resolution network"
        )
    return descriptor


def _check_descriptor(descriptor: Any, located: LocatedWeights) -> None:
    registered = located.weights.scale if located.weights is not None else None
    if registered is not None and descriptor.scale != registered:
        raise ModelMismatch(
            f"{located.path}: expected scale {registered} as registered for {located.name}, the network in "
            f"the file enlarges by {descriptor.scale}; run `imgpipe models pull {located.name}`"
        )
    channels = (descriptor.input_channels, descriptor.output_channels)
    if channels != (3, 3):
        raise ModelMismatch(
            f"{located.path}: expected a network with 3 channels (RGB) in and 3 out, got {channels[0]} in "
            f"and {channels[1]} out; choose another upscale.model"
        )


def _possible_precision(descriptor: Any, asked: str) -> tuple[str, tuple[str, ...]]:
    supported = {
        "fp32": True,
        "bf16": bool(descriptor.supports_bfloat16),
        "fp16": bool(descriptor.supports_half),
    }
    if supported[asked]:
        return asked, ()
    used = "bf16" if asked == "fp16" and supported["bf16"] else "fp32"
    return used, (f"precision {asked} is not safe for {descriptor.architecture.name}: {used} is used",)


class _Described(nn.Module):
    """Any network as spandrel calls it: padded to its size requirements, clamped to 0..1."""

    def __init__(self, descriptor: Any) -> None:
        super().__init__()
        self.inner = descriptor.model
        self._descriptor = descriptor

    def forward(self, pixels: Tensor) -> Tensor:
        result: Tensor = self._descriptor(pixels)
        return result

    def __deepcopy__(self, memo: dict[int, Any]) -> _Described:
        return _Described(copy.deepcopy(self._descriptor, memo))


def _module_and_form(descriptor: Any) -> tuple[nn.Module, Form]:
    module: nn.Module = descriptor.model
    if descriptor.architecture.id == "Compact" and has_compact_form(module):
        return module, CompactForm
    if descriptor.architecture.id == "ESRGAN" and has_esrgan_form(module):
        return module, EsrganForm
    return _Described(descriptor), cast_whole


def _receptive_field(descriptor: Any, module: nn.Module) -> ReceptiveField:
    if descriptor.architecture.id in _CONVOLUTIONAL:
        return receptive_field.of_convolutions(module)

    def enlarge(strip: Floats) -> Floats:
        device = next(module.parameters()).device
        with torch.inference_mode():
            result: Tensor = module(torch.from_numpy(strip).permute(2, 0, 1)[None].to(device))
        return np.asarray(result[0].permute(1, 2, 0).cpu(), np.float32)

    return receptive_field.measure(
        enlarge, descriptor.scale, multiple_of=descriptor.size_requirements.multiple_of, passes_nan=True
    )


def _memory(module: nn.Module, parts: Parts) -> MemoryModel:
    """What OpenVINO takes for a window, in any precision."""
    form = EsrganForm(module, torch.float32, "cpu") if parts.whole else parts.tail
    return memory_of(form, _OPENVINO_FACTORS[bool(parts.whole)])


def _check_on_probe(module: nn.Module, scale: int, path: Path) -> None:
    """Run a small seeded picture: an untrained, transposed or mislabelled network shows here."""
    probe = np.random.default_rng(0).random((1, 3, _PROBE_HEIGHT_PX, _PROBE_WIDTH_PX), dtype=np.float32)
    try:
        with torch.inference_mode():
            result = module(torch.from_numpy(probe))
    except RuntimeError as exc:
        raise ModelMismatch(
            f"{path}: expected a network that takes a picture of {_PROBE_WIDTH_PX} x {_PROBE_HEIGHT_PX} px, "
            f"it failed with {last_line(exc)}; choose another upscale.model"
        ) from exc
    if not bool(torch.isfinite(result).all()):
        raise ModelMismatch(
            f"{path}: expected finite numbers on a probe picture, got NaN or infinity in fp32: the weights "
            "are damaged; fetch the file again"
        )
    expected = (1, 3, _PROBE_HEIGHT_PX * scale, _PROBE_WIDTH_PX * scale)
    if tuple(result.shape) != expected:
        raise ModelMismatch(
            f"{path}: expected an output of shape {expected} at scale {scale}, got "
            f"{tuple(result.shape)}; the file's network is not what it says"
        )
