"""An ONNX file ready to run: by OpenVINO on the CPU, by onnxruntime on a CUDA GPU."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from imgpipe.errors import ConfigError, ModelError, WeightsRefused
from imgpipe.inference.failures import last_line, translated
from imgpipe.inference.openvino_network import Graph, Values, read_onnx

_CUDA = "CUDAExecutionProvider"
_DTYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


class OpenedOnnx(Protocol):
    """A network with one input. Safe to call from several threads."""

    runtime: str
    device: str
    input_dtype: np.dtype[Any]
    input_shape: tuple[int | None, ...]

    def __call__(self, values: Values) -> list[Values]:
        """The first output alone for ``values``; raises ``OutOfMemory`` and ``InferenceError``."""


def open_onnx(path: Path, device: str) -> OpenedOnnx:
    """The network in ``path`` on ``device``: cpu, cuda, or auto (CUDA where onnxruntime has it working).

    Raises :class:`ConfigError` (another device), :class:`ModelError` (cuda was asked for and is not active)
    and :class:`WeightsRefused` (not an ONNX file).
    """
    if device not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"device: expected auto, cpu or cuda, got {device!r}")
    why_not = "" if device == "cpu" else missing_cuda()
    if device != "cpu" and not why_not:
        graph = _CudaGraph(path)
        if graph.is_active:
            return graph
        why_not = f"expected {_CUDA} to be active, onnxruntime fell back to the CPU"
    if device == "cuda":
        raise ModelError(
            f"{path.name}: device is cuda, but {why_not}; install onnxruntime-gpu (the extra `gpu`) with "
            "matching CUDA and cuDNN libraries, or set device to cpu or auto"
        )
    return Graph(read_onnx(path))


def missing_cuda() -> str:
    """Why onnxruntime cannot use CUDA here, or nothing; whether it starts is not tried."""
    if importlib.util.find_spec("onnxruntime") is None:
        return "onnxruntime is not installed"
    import onnxruntime

    providers = onnxruntime.get_available_providers()
    return "" if _CUDA in providers else f"this onnxruntime has only {', '.join(providers)}"


class _CudaGraph:
    """An :class:`OpenedOnnx` of onnxruntime."""

    runtime, device = "onnxruntime", "cuda"

    def __init__(self, path: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), sess_options=options, providers=[_CUDA, "CPUExecutionProvider"]
            )
        except Exception as exc:  # onnxruntime's errors share no base class but Exception
            raise WeightsRefused(
                f"{path}: expected an ONNX network, got a file that onnxruntime {onnxruntime.__version__} "
                f"does not load ({last_line(exc)}); export or fetch it again"
            ) from exc
        self.is_active = _CUDA in self._session.get_providers()
        graph_input = self._session.get_inputs()[0]
        self._input = str(graph_input.name)
        self._output = str(self._session.get_outputs()[0].name)
        self.input_dtype = np.dtype(_DTYPES.get(graph_input.type, np.void))
        self.input_shape = tuple(side if isinstance(side, int) else None for side in graph_input.shape)

    def __call__(self, values: Values) -> list[Values]:
        step = self.input_shape[0] or len(values)
        parts = [self._run(values[start : start + step]) for start in range(0, len(values), step)]
        return [np.concatenate(each) for each in zip(*parts, strict=True)]

    def _run(self, values: Values) -> list[Values]:
        what = f"an input of shape {values.shape}"
        with translated(what, self.device, (Exception,)):  # its errors share no other base class
            fed = {self._input: np.ascontiguousarray(values, self.input_dtype)}
            results: list[Values] = self._session.run([self._output], fed)
        return results
