"""A super-resolution network in an ONNX file, run by onnxruntime.

Expected: one input (n, 3, h, w), RGB in 0..1, float32 or float16, of free height and width; one output
(n, 3, h * scale, w * scale). That is what exporters make of Real-ESRGAN and its kin.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from imgpipe.errors import ConfigError, InferenceError, ModelMismatch, OutOfMemory, WeightsRefused
from imgpipe.inference.memory_model import ASSUMED_MEMORY
from imgpipe.inference.weights import LocatedWeights
from imgpipe.upscaling import receptive_field
from imgpipe.upscaling.network import Floats, LoadedNetwork, Strip, strip_of

_PRECISIONS = {"tensor(float)": ("fp32", np.float32), "tensor(float16)": ("fp16", np.float16)}
_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_PROBE_WIDTH_PX, _PROBE_HEIGHT_PX = 20, 16

#: An output far outside 0..1 is in levels of 0..255 or no picture at all.
_PLAUSIBLE_MAX = 8.0


def load_network(located: LocatedWeights, *, device: str, precision: str) -> LoadedNetwork:
    """The network in ``located``, its scale and range checked on a small picture.

    ``device``: auto, cpu or cuda. ``precision``: the file's own is used whatever is asked for. Raises
    :class:`ConfigError` (no such device), :class:`WeightsRefused` (not loadable) and
    :class:`ModelMismatch` (other shapes or another range than expected).
    """
    session, used = _session(located.path, device)
    network = OnnxNetwork(session, located.path, used)
    field = receptive_field.measure(lambda window: network.enlarge(window[None])[0], network.scale)
    reasons: tuple[str, ...] = ()
    if precision not in ("auto", network.precision):
        reasons = (f"precision {precision} was asked for: the file's own, {network.precision}, is used",)
    return LoadedNetwork(
        network,
        backend="onnxruntime",
        architecture="ONNX",
        receptive_field=field,
        memory=ASSUMED_MEMORY,
        tileable=field.exact,
        reasons=reasons,
    )


class OnnxNetwork:
    """An :class:`imgpipe.upscaling.network.Network` around one onnxruntime session."""

    def __init__(self, session: onnxruntime.InferenceSession, path: Path, device: str) -> None:
        self.device = device
        self._session = session
        self._path = path
        self._input, self.precision, self._dtype = _checked_input(session, path)
        self._one_at_a_time = isinstance(self._input.shape[0], int)
        self.scale = self._probed_scale()

    def strips(self, windows: Floats) -> Iterator[Strip]:
        """See :meth:`imgpipe.upscaling.network.Network.strips`; one strip for all rows."""
        yield strip_of(self.enlarge(windows), self.scale)

    def enlarge(self, windows: Floats) -> Floats:
        """(n, h, w, 3) float32 in 0..1 -> (n, h * scale, w * scale, 3) float32, finite."""
        planes = np.ascontiguousarray(windows.transpose(0, 3, 1, 2), self._dtype)
        batches = list(planes[:, None]) if self._one_at_a_time else [planes]
        result = np.concatenate([self._run(batch) for batch in batches]).astype(np.float32)
        if not np.isfinite(result.sum()):
            raise InferenceError(
                f"{self._path}: the network gave NaN or infinity in {self.precision}; "
                "export it in float32, or use another upscale.model"
            )
        return np.ascontiguousarray(result.transpose(0, 2, 3, 1))

    def take_retries(self) -> int:
        """Always 0: the file has one precision."""
        return 0

    def release_cached_memory(self) -> None:
        """onnxruntime's arena belongs to the session; there is nothing to give back."""

    def _run(self, planes: Any) -> Any:
        try:
            return self._session.run(None, {self._input.name: planes})[0]
        except Exception as exc:  # onnxruntime's errors share no base class but Exception
            text = str(exc).lower()
            what = f"{planes.shape[0]} window(s) of {planes.shape[3]} x {planes.shape[2]} px"
            if isinstance(exc, MemoryError) or "alloc" in text or "out of memory" in text:
                raise OutOfMemory(f"{what} do not fit into the memory of {self.device}") from exc
            raise InferenceError(f"{self._path}: the network failed on {what}: {exc}") from exc

    def _probed_scale(self) -> int:
        rng = np.random.default_rng(0)
        probe = rng.random((1, 3, _PROBE_HEIGHT_PX, _PROBE_WIDTH_PX), dtype=np.float32)
        try:
            result = np.asarray(self._run(probe.astype(self._dtype)))
        except InferenceError as exc:
            raise ModelMismatch(
                f"{self._path}: expected a network that takes a picture of {_PROBE_WIDTH_PX} x "
                f"{_PROBE_HEIGHT_PX} px: {exc}; choose another upscale.model"
            ) from exc
        shape = result.shape
        scale = shape[-1] // _PROBE_WIDTH_PX
        if scale < 1 or shape != (1, 3, _PROBE_HEIGHT_PX * scale, _PROBE_WIDTH_PX * scale):
            raise ModelMismatch(
                f"{self._path}: expected an output of (1, 3, {_PROBE_HEIGHT_PX} x scale, {_PROBE_WIDTH_PX} x "
                f"scale), got {tuple(shape)}; choose a super-resolution network from RGB to RGB"
            )
        if not np.isfinite(result).all() or np.abs(result).max() > _PLAUSIBLE_MAX:
            raise ModelMismatch(
                f"{self._path}: expected an output around 0..1, got {result.min():g}..{result.max():g}; "
                "choose a network whose range is 0..1"
            )
        return int(scale)


def _session(path: Path, device: str) -> tuple[onnxruntime.InferenceSession, str]:
    available = onnxruntime.get_available_providers()
    used = "cuda" if device == "auto" and _PROVIDERS["cuda"] in available else device.replace("auto", "cpu")
    if used == "cuda" and _PROVIDERS["cuda"] not in available:
        raise ConfigError(f"device: cuda was asked for, onnxruntime has {available}; install imgpipe[gpu]")
    try:
        session = onnxruntime.InferenceSession(path, providers=[_PROVIDERS[used]])
    except Exception as exc:  # onnxruntime's errors share no base class but Exception
        first_line = str(exc).strip().splitlines()[0][:200]
        raise WeightsRefused(
            f"{path}: expected an ONNX network, got a file that onnxruntime {onnxruntime.__version__} does "
            f"not load ({first_line}); export or fetch it again"
        ) from exc
    if _PROVIDERS[used] not in session.get_providers():
        raise ConfigError(f"device: {used} was asked for, onnxruntime fell back to {session.get_providers()}")
    return session, used


def _checked_input(session: onnxruntime.InferenceSession, path: Path) -> tuple[Any, str, Any]:
    inputs = session.get_inputs()
    shape = inputs[0].shape if inputs else []
    free = len(shape) == 4 and not isinstance(shape[2], int) and not isinstance(shape[3], int)
    if len(inputs) != 1 or not free or shape[1] not in (3, None) or inputs[0].type not in _PRECISIONS:
        found = ", ".join(f"{value.name} {value.type} {value.shape}" for value in inputs)
        raise ModelMismatch(
            f"{path}: expected one input (n, 3, h, w) of float32 or float16 with free height and width, got "
            f"{found or 'none'}; export the network with dynamic axes"
        )
    precision, dtype = _PRECISIONS[inputs[0].type]
    return inputs[0], precision, dtype
