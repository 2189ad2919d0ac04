"""An ONNX file ready to run: by OpenVINO on the CPU, by onnxruntime on a CUDA GPU."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from imgpipe.errors import ConfigError, ModelError, ModelMismatch, WeightsRefused
from imgpipe.inference.failures import last_line, translated
from imgpipe.inference.onnx_header import read_header
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
        """The chosen output alone for ``values``; raises ``OutOfMemory`` and ``InferenceError``."""


def open_onnx(path: Path, device: str, output: int | str | None = 0) -> OpenedOnnx:
    """The network in ``path`` on ``device``: cpu, cuda, or auto (CUDA where onnxruntime has it working).

    ``output``: number or name of the one that is computed; ``None``: the graph must have one only.

    Raises :class:`ConfigError` (another device), :class:`ModelError` (cuda was asked for and is not active),
    :class:`WeightsRefused` (not an ONNX file, or one with tensors in other files) and :class:`ModelMismatch`
    (no such output).
    """
    if device not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"device: expected auto, cpu or cuda, got {device!r}")
    header = read_header(path)
    if header.external:
        raise WeightsRefused(
            f"{path}: expected a network in one file, got tensors in {', '.join(sorted(header.external))}, "
            "which its sha256 does not cover; save it whole: onnx.save(onnx.load(path), 'whole.onnx')"
        )
    chosen = _chosen(output, header.outputs, path)
    why_not = "" if device == "cpu" else missing_cuda()
    if device != "cpu" and not why_not:
        graph = _CudaGraph(path, chosen)
        if graph.is_active:
            return graph
        why_not = f"expected {_CUDA} to be active, onnxruntime fell back to the CPU"
    if device == "cuda":
        raise ModelError(
            f"{path.name}: device is cuda, but {why_not}; install onnxruntime-gpu (the extra `gpu`) with "
            "matching CUDA and cuDNN libraries, or set device to cpu or auto"
        )
    return Graph(read_onnx(path, chosen))


def _chosen(output: int | str | None, names: list[str], path: Path) -> int:
    """The number of the output."""
    wanted = names.index(output) if isinstance(output, str) and output in names else output
    if wanted is None and len(names) == 1:
        return 0
    if isinstance(wanted, int) and 0 <= wanted < len(names):
        return wanted
    asked = "none is named" if output is None else f"{output!r} is asked for"
    raise ModelMismatch(
        f"{path}: the graph has {len(names)} outputs ({', '.join(names)}), {asked}; give the number or name "
        "of the one that is the mask: which_output of rembg.contract"
    )


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

    def __init__(self, path: Path, output: int) -> None:
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
        inputs = self._session.get_inputs()
        if len(inputs) != 1:
            raise ModelMismatch(f"{path}: expected a graph with one input, got {len(inputs)}")
        graph_input = inputs[0]
        self._input = str(graph_input.name)
        self._output = str(self._session.get_outputs()[output].name)
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
