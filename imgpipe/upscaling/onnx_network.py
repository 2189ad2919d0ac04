"""A super-resolution network in an ONNX file.

Expected: one input (n, 3, h, w), RGB in 0..1, float32 or float16, of free height and width; one output
(n, 3, h * scale, w * scale). That is what exporters make of Real-ESRGAN and its kin.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from imgpipe.errors import InferenceError, ModelMismatch, OutOfMemory
from imgpipe.inference.device import PrecisionSetting, resolve_precision
from imgpipe.inference.memory_model import ASSUMED_MEMORY, MemoryModel
from imgpipe.inference.onnx_file import OpenedOnnx, open_onnx
from imgpipe.inference.openvino_network import Graph
from imgpipe.inference.weights import LocatedWeights
from imgpipe.upscaling import receptive_field
from imgpipe.upscaling.checked_network import CheckedNetwork, Loops
from imgpipe.upscaling.graph_loops import GraphLoops, with_levels
from imgpipe.upscaling.network import Floats, LoadedNetwork, Strip, strip_of

_PRECISIONS = {np.dtype(np.float32): "fp32", np.dtype(np.float16): "fp16"}
_PROBE_WIDTH_PX, _PROBE_HEIGHT_PX = 20, 16

#: An output far outside 0..1 is in levels of 0..255 or no picture at all.
_PLAUSIBLE_MAX = 8.0


def load_network(located: LocatedWeights, *, device: str, precision: PrecisionSetting) -> LoadedNetwork:
    """The network in ``located``, its scale and range checked on a small picture.

    ``device``: auto, cpu or cuda. ``precision``: the file's own is used whatever is asked for, but for this
    package's networks on a CPU, which were compared in bf16 and in fp32. Raises
    :class:`ConfigError` (no such device), :class:`ModelError` (CUDA asked for and not active),
    :class:`WeightsRefused` (not loadable) and :class:`ModelMismatch` (other shapes or another range than
    expected).
    """
    opened = open_onnx(located.path, device)
    own = _checked_precision(opened, located.path)
    floats = _FloatLoops(opened, _probed_scale(opened, located.path))
    field = receptive_field.measure(floats.enlarge_one, floats.scale)
    loops: Loops = floats
    used, full = own, None
    reasons: tuple[str, ...] = (opened.fallback_reason,) if opened.fallback_reason else ()
    if isinstance(opened, Graph):
        tail = Graph(with_levels(opened.model, floats.scale))
        if located.shipped:
            tail = _in_precision(tail, precision)
            used, full = tail.precision, CheckedNetwork(floats, opened.runtime, own)
        loops = GraphLoops(tail, floats.scale, ASSUMED_MEMORY)
    if precision not in ("auto", used):
        reasons += (f"precision {precision} was asked for: the file's own, {own}, is used",)
    return LoadedNetwork(
        CheckedNetwork(loops, opened.runtime, used, full, device=opened.device),
        backend="onnx",
        runtime=opened.runtime,
        architecture="ONNX",
        receptive_field=field,
        memory=ASSUMED_MEMORY,
        tileable=field.exact,
        reasons=reasons,
    )


def _in_precision(graph: Graph, precision: PrecisionSetting) -> Graph:
    """``graph`` in what ``precision`` means on this CPU, or as it is where OpenVINO does not compute that."""
    try:
        return Graph(graph.model, resolve_precision(precision, "cpu"))
    except ModelMismatch:
        return graph


class _FloatLoops:
    """What a network gives as floats, made into levels here."""

    def __init__(self, opened: OpenedOnnx, scale: int) -> None:
        self.scale = scale
        self._opened = opened

    def strips(self, windows: Floats) -> Iterator[tuple[Strip, bool]]:
        """One (strip, whether it is finite) for all rows."""
        result = self._opened(windows.transpose(0, 3, 1, 2))[0].astype(np.float32, copy=False)
        yield strip_of(result.transpose(0, 2, 3, 1), self.scale), bool(np.isfinite(result.sum()))

    def enlarge_one(self, window: Floats) -> Floats:
        """(h, w, 3) float32 -> (h * scale, w * scale, 3) float32, not clipped."""
        result = self._opened(window.transpose(2, 0, 1)[None])[0][0]
        return np.asarray(result.transpose(1, 2, 0), np.float32)

    def memory_model(self) -> MemoryModel:
        """What a window takes: not known, but not more than this."""
        return ASSUMED_MEMORY


def _checked_precision(opened: OpenedOnnx, path: Path) -> str:
    shape = opened.input_shape
    fits = len(shape) == 4 and shape[1] in (3, None) and shape[2] is None and shape[3] is None
    if not fits or opened.input_dtype not in _PRECISIONS:
        raise ModelMismatch(
            f"{path}: expected one input (n, 3, h, w) of float32 or float16 with free height and width, got "
            f"{opened.input_dtype} {shape}; export the network with dynamic axes"
        )
    return _PRECISIONS[opened.input_dtype]


def _probed_scale(opened: OpenedOnnx, path: Path) -> int:
    rng = np.random.default_rng(0)
    probe = rng.random((1, 3, _PROBE_HEIGHT_PX, _PROBE_WIDTH_PX), dtype=np.float32)
    try:
        result = opened(probe)[0]
    except OutOfMemory:
        raise  # no fault of the file
    except InferenceError as exc:
        raise ModelMismatch(
            f"{path}: expected a network that takes a picture of {_PROBE_WIDTH_PX} x "
            f"{_PROBE_HEIGHT_PX} px: {exc}; choose another upscale.model"
        ) from exc
    shape = result.shape
    scale = shape[-1] // _PROBE_WIDTH_PX
    if scale < 1 or shape != (1, 3, _PROBE_HEIGHT_PX * scale, _PROBE_WIDTH_PX * scale):
        raise ModelMismatch(
            f"{path}: expected an output of (1, 3, {_PROBE_HEIGHT_PX} x scale, {_PROBE_WIDTH_PX} x "
            f"scale), got {tuple(shape)}; choose a super-resolution network from RGB to RGB"
        )
    if not np.isfinite(result).all() or np.abs(result).max() > _PLAUSIBLE_MAX:
        raise ModelMismatch(
            f"{path}: expected an output around 0..1, got {result.min():g}..{result.max():g}; "
            "choose a network whose range is 0..1"
        )
    return int(scale)
