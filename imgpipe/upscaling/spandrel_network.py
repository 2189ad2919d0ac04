"""Loading a weights file into a network that is known to do what it says.

spandrel recognises the architecture from the state dict. Files are only read in ways that cannot run
code: safetensors, or ``.pth`` through spandrel's restricted unpickler; TorchScript is refused under any
name. Imported only where a network runs: this module loads torch.
"""

from __future__ import annotations

import copy
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import spandrel
import torch
from torch import Tensor, nn

from imgpipe.errors import InferenceError, ModelMismatch, WeightsRefused
from imgpipe.inference.device import PrecisionSetting, resolve_precision
from imgpipe.inference.memory_model import ASSUMED_MEMORY, MemoryModel
from imgpipe.inference.torch_network import Form, TorchNetwork, cast_whole
from imgpipe.inference.weights import LocatedWeights
from imgpipe.upscaling import receptive_field
from imgpipe.upscaling.cpu import cpu_network
from imgpipe.upscaling.network import Floats, LoadedNetwork, ReceptiveField
from imgpipe.upscaling.network_forms import (
    CompactForm,
    EsrganForm,
    has_compact_form,
    has_esrgan_form,
)
from imgpipe.upscaling.quantising_network import QuantisingNetwork

#: File types that can be read without running code from them.
SAFE_SUFFIXES = (".safetensors", ".pth")

#: Architectures that consist of plain convolutions, so that their receptive field is a sum.
_CONVOLUTIONAL = ("Compact", "ESRGAN")

_PROBE_WIDTH_PX, _PROBE_HEIGHT_PX = 20, 16


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
    of_torch = partial(TorchNetwork, module, scale=descriptor.scale, device=device, form=form)
    inner = of_torch(precision="fp32" if device == "cpu" else used)
    by_matrix_unit = cpu_network(module, used, QuantisingNetwork(inner)) if device == "cpu" else None
    if by_matrix_unit is None and used != inner.precision:
        inner = of_torch(precision=used)
    _check_on_probe(inner, located.path)
    return LoadedNetwork(
        by_matrix_unit or QuantisingNetwork(inner),
        backend="spandrel",
        architecture=str(descriptor.architecture.id),
        receptive_field=_receptive_field(descriptor, module),
        memory=by_matrix_unit.memory_model() if by_matrix_unit else _memory(inner),
        multiple_of=descriptor.size_requirements.multiple_of,
        tileable=descriptor.tiling == spandrel.ModelTiling.SUPPORTED,
        convolution="amx" if by_matrix_unit else "backend",
        reasons=reasons,
    )


def _read(path: Path) -> Any:
    """The descriptor of a file; everything that can go wrong in it becomes :class:`WeightsRefused`."""
    if path.suffix.lower() not in SAFE_SUFFIXES:
        raise WeightsRefused(
            f"{path}: expected a file that can be read without running code from it "
            f"({', '.join(SAFE_SUFFIXES)}), got {path.suffix or 'no suffix'!r}; convert it to safetensors"
        )
    if _is_torchscript(path):
        raise WeightsRefused(
            f"{path}: expected a state dict, got a TorchScript archive, which holds code; "
            "convert its state dict to safetensors"
        )
    try:
        descriptor = spandrel.ModelLoader(device="cpu").load_from_file(path)
    except Exception as exc:  # a hostile or damaged file can raise anything; all of it is the file's fault
        raise WeightsRefused(
            f"{path}: expected the state dict of a network that spandrel {spandrel.__version__} knows, "
            f"got a file that does not load ({type(exc).__name__}: {_first_line(exc)}); "
            "fetch it again, or give a .safetensors of a supported architecture"
        ) from exc
    if not isinstance(descriptor, spandrel.ImageModelDescriptor):
        raise WeightsRefused(
            f"{path}: expected a network from image to image, got {descriptor.architecture.name}, "
            "which needs a mask as well; choose a super-resolution network"
        )
    return descriptor


def _is_torchscript(path: Path) -> bool:
    # torch.load hands such archives to torch.jit.load, past the restricted unpickler.
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.rsplit("/", 1)[-1] == "constants.pkl" for name in archive.namelist())


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


def _memory(network: TorchNetwork) -> MemoryModel:
    try:
        return network.memory_model()
    except (NotImplementedError, RuntimeError):
        # Some architectures read values while they run, which tensors without values cannot give.
        return ASSUMED_MEMORY


def _check_on_probe(network: TorchNetwork, path: Path) -> None:
    """Run a small seeded picture: an untrained, transposed or mislabelled network shows here."""
    shape = (_PROBE_HEIGHT_PX, _PROBE_WIDTH_PX, 3)
    probe = np.random.default_rng(0).random(shape, dtype=np.float32)
    try:
        result = network(probe)
    except InferenceError as exc:
        raise ModelMismatch(f"{path}: expected finite numbers on a probe picture: {exc}") from exc
    except RuntimeError as exc:
        raise ModelMismatch(
            f"{path}: expected a network that takes a picture of {_PROBE_WIDTH_PX} x {_PROBE_HEIGHT_PX} px, "
            f"it failed with {type(exc).__name__}: {_first_line(exc)}; choose another upscale.model"
        ) from exc
    finally:
        network.take_retries()
    expected = (_PROBE_HEIGHT_PX * network.scale, _PROBE_WIDTH_PX * network.scale, 3)
    if tuple(result.shape) != expected:
        raise ModelMismatch(
            f"{path}: expected an output of shape {expected} at scale {network.scale}, "
            f"got {tuple(result.shape)}; the file's network is not what it says"
        )


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else "no message"
