"""An ONNX file ready to run: by OpenVINO on the CPU, by onnxruntime on a CUDA GPU."""

from __future__ import annotations

import importlib.util
import logging
import threading
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from imgpipe.errors import ConfigError, ModelError, ModelMismatch, OutOfMemory, WeightsRefused
from imgpipe.inference import cuda
from imgpipe.inference.device import gpu_is_expected
from imgpipe.inference.failures import first_line, translated
from imgpipe.inference.onnx_header import read_header
from imgpipe.inference.openvino_network import Graph, Values, read_onnx

_CUDA = "CUDAExecutionProvider"
_DTYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}

_LOG = logging.getLogger(__name__)


class OpenedOnnx(Protocol):
    """A network with one input. Safe to call from several threads.

    ``fallback_reason``: why it is on the CPU although a GPU was to be expected, else empty.
    """

    runtime: str
    device: str
    fallback_reason: str
    input_dtype: np.dtype[Any]
    input_shape: tuple[int | None, ...]

    def __call__(self, values: Values) -> list[Values]:
        """The chosen output alone for ``values``; raises ``OutOfMemory``, ``InferenceError`` and, where the
        device fails, ``ModelError``."""


def open_onnx(path: Path, device: str, output: int | str | None = 0) -> OpenedOnnx:
    """The network in ``path`` on ``device``: cpu, cuda, or auto (CUDA where a session with it starts).

    ``output``: number or name of the one that is computed; ``None``: the graph must have one only.

    Raises :class:`ConfigError` (another device), :class:`ModelError` (cuda was asked for and does not start),
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
    if device == "cpu":
        return Graph(read_onnx(path, chosen))
    why_not = missing_cuda()
    if not why_not:
        started = _started(path, chosen)
        if not isinstance(started, str):
            return started
        why_not = started
    model = read_onnx(path, chosen)  # A file that cannot be read is no fault of the device.
    if device == "cuda":
        raise ModelError(f"{path.name}: device is cuda, but {why_not}; or set device to cpu or auto")
    graph = Graph(model)
    if gpu_is_expected():
        graph.fallback_reason = f"device auto is the CPU: {why_not}"
        _LOG.warning("%s: %s", path.name, graph.fallback_reason)
    return graph


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
        "of the one that is the mask: which_output of its contract (rembg.contract, rembg.second_contract)"
    )


def missing_cuda() -> str:
    """Why onnxruntime cannot use CUDA here and what to do, or nothing; no session is tried."""
    if importlib.util.find_spec("onnxruntime") is None:
        return "onnxruntime is not installed: pip install 'imgpipe[gpu]'"
    import onnxruntime

    providers = onnxruntime.get_available_providers()
    if _CUDA not in providers:
        return (
            f"this onnxruntime has only {', '.join(providers)}: `pip uninstall -y onnxruntime`, then "
            "`pip install --force-reinstall 'imgpipe[gpu]'`"
        )
    return cuda.why_no_gpu()


def _started(path: Path, output: int) -> _CudaGraph | str:
    """The network on CUDA, or why it does not start there."""
    cuda.preload()
    try:
        graph = _CudaGraph(path, output)
    except Exception as exc:  # onnxruntime's errors share no base class but Exception
        return f"onnxruntime does not start it on the GPU ({first_line(exc)})"
    if graph.is_active:
        return graph
    lacking = cuda.missing_library() or "its log says why"
    return (
        f"onnxruntime's CUDA part does not load ({lacking}): `pip install 'imgpipe[gpu]'` brings CUDA "
        f"{cuda.CUDA_MAJOR} and cuDNN"
    )


class _CudaGraph:
    """An :class:`OpenedOnnx` of onnxruntime: fp32 is IEEE's, and equal inputs give equal outputs.

    Its arena takes what is asked for, never doubled, and half of the card at most.
    """

    runtime, device, fallback_reason = "onnxruntime", "cuda", ""

    def __init__(self, path: Path, output: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.use_deterministic_compute = True
        on_cuda = {
            "use_tf32": "0",
            "arena_extend_strategy": "kSameAsRequested",
            "cudnn_conv_algo_search": "HEURISTIC",
        }
        if total := cuda.total_memory_bytes():
            on_cuda["gpu_mem_limit"] = str(total // 2)
        self._session = onnxruntime.InferenceSession(
            str(path),
            sess_options=options,
            providers=[(_CUDA, on_cuda), "CPUExecutionProvider"],
            enable_fallback=0,
        )
        self._shrinking = onnxruntime.RunOptions()
        self._shrinking.add_run_config_entry("memory.enable_memory_arena_shrinkage", "gpu:0")
        self.is_active = _CUDA in self._session.get_providers()
        inputs = self._session.get_inputs()
        if len(inputs) != 1:
            raise ModelMismatch(f"{path}: expected a graph with one input, got {len(inputs)}")
        graph_input = inputs[0]
        self._input = str(graph_input.name)
        self._output = str(self._session.get_outputs()[output].name)
        self.input_dtype = np.dtype(_DTYPES.get(graph_input.type, np.void))
        self.input_shape = tuple(side if isinstance(side, int) else None for side in graph_input.shape)
        self._last_shape: tuple[int, ...] = ()
        self._lock = threading.Lock()
        cuda.KEEPERS.add(self)

    def __call__(self, values: Values) -> list[Values]:
        step = self.input_shape[0] or len(values)
        parts = [self._run(values[start : start + step]) for start in range(0, len(values), step)]
        return [np.concatenate(each) for each in zip(*parts, strict=True)]

    def release_cached_memory(self) -> None:
        """By a last run, after which the arena is shrunk: onnxruntime has no other way."""
        with self._lock:
            shape, self._last_shape = self._last_shape, ()
        if shape:
            with translated("releasing memory", self.device, (Exception,)):
                self._session.run([], {self._input: np.zeros(shape, self.input_dtype)}, self._shrinking)

    def _run(self, values: Values) -> list[Values]:
        try:
            return self._run_once(values)
        except OutOfMemory:
            cuda.release_torch_cache()  # which may be what is lacking here
            return self._run_once(values)

    def _run_once(self, values: Values) -> list[Values]:
        what = f"an input of shape {values.shape}"
        # One run at a time: several would take an arena each. Its errors share no base class but Exception.
        with self._lock, translated(what, self.device, (Exception,)):
            fed = {self._input: np.ascontiguousarray(values, self.input_dtype)}
            results: list[Values] = self._session.run([self._output], fed)
            self._last_shape = values.shape
        return results
