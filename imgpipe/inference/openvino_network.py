"""Networks on a CPU by OpenVINO: from torch modules and ONNX files, its errors as this package's.

Imported only where a network runs. OpenVINO's results do not depend on a window's shape or batch: each output
value is summed in the same order wherever it lies (tests hold tiles to equality).
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
import warnings
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from imgpipe.errors import ModelMismatch, WeightsRefused
from imgpipe.inference.failures import last_line, translated
from imgpipe.inference.threads import network_threads

if TYPE_CHECKING:
    from torch import Tensor, nn

Values = npt.NDArray[Any]

#: Precision -> OpenVINO's name as a hint and as a capability of the CPU.
_PRECISIONS = {"fp32": ("f32", "FP32"), "bf16": ("bf16", "BF16"), "fp16": ("f16", "FP16")}


#: Values of ONEDNN_MAX_CPU_ISA that take bf16 and fp16 away. OpenVINO reads the CPU's own flags and would
#: compute nothing, without an error, on kernels that it does not get.
_HELD_DOWN = frozenset({"SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX512_CORE", "AVX512_CORE_VNNI"})


@cache
def library() -> Any:
    """The package ``openvino``, without its telemetry.

    Importing it reports to a server wherever ``openvino_telemetry`` can be imported; without that, it has a
    stub of its own.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return importlib.import_module("openvino")


@cache
def _core() -> Any:
    return library().Core()


def read_onnx(path: Path, output: int = 0) -> Any:
    """The ``openvino.Model`` of one of an ONNX file's outputs; raises :class:`WeightsRefused`, and
    :class:`ModelMismatch` where it has several inputs."""
    try:
        model = _core().read_model(path)
    except RuntimeError as exc:
        raise WeightsRefused(
            f"{path}: expected an ONNX network, got a file that OpenVINO {library().__version__} does not "
            f"load ({last_line(exc)}); export or fetch it again"
        ) from exc
    if len(model.inputs) != 1:
        raise ModelMismatch(f"{path}: expected a graph with one input, got {len(model.inputs)}")
    return library().Model([model.output(output).get_node().input_value(0)], model.get_parameters())


def of_module(module: nn.Module, example: Tensor) -> Any:
    """The ``openvino.Model`` of a torch module from (n, c, h, w) to one tensor, for any n, h and w.

    ``example``: (1, c, h, w) float32. A module whose operations depend on the size is converted for the
    example's size without notice: compare the results at other sizes. Raises :class:`ModelMismatch` where
    there is no conversion.
    """
    import torch

    free = [(-1, example.shape[1], -1, -1)]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch announces that tracing will be replaced
            traced = torch.jit.trace(module, example, check_trace=False)
            return library().convert_model(traced, example_input=example, input=free)
    except Exception as exc:  # a converter in Python that runs the module: anything can be raised
        raise ModelMismatch(f"OpenVINO cannot convert the network ({last_line(exc)})") from exc


class Graph:
    """A model compiled for this CPU. Safe to call from several threads, which take turns.

    ``precision``: fp32, bf16 or fp16, what the inner work is done in. Raises :class:`ModelMismatch` where
    OpenVINO does not compute the model in ``precision`` on this CPU.
    """

    runtime, device = "openvino", "cpu"
    fallback_reason = ""

    def __init__(self, model: Any, precision: str = "fp32") -> None:
        hint, capability = _PRECISIONS[precision]
        held_down = precision != "fp32" and os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper() in _HELD_DOWN
        if held_down or capability not in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise ModelMismatch(f"OpenVINO has no {precision} on this CPU")
        # Pinned threads would wait for their core while another one is free.
        config = {
            "INFERENCE_PRECISION_HINT": hint,
            "INFERENCE_NUM_THREADS": network_threads(),
            "PERFORMANCE_HINT": "LATENCY",
            "ENABLE_CPU_PINNING": False,
        }
        self.model, self.precision = model, precision
        self.input_dtype = np.dtype(model.input(0).get_element_type().to_dtype())
        self.input_shape = tuple(
            dimension.get_length() if dimension.is_static else None
            for dimension in model.input(0).get_partial_shape()
        )
        self._lock = threading.Lock()
        try:
            self._request = _core().compile_model(model, "CPU", config).create_infer_request()
        except RuntimeError as exc:
            raise ModelMismatch(f"OpenVINO cannot compile the network ({last_line(exc)})") from exc

    def __call__(self, values: Values) -> list[Values]:
        """All outputs for ``values`` (n, ...), one by one where the model's batch is fixed at 1.

        Raises :class:`OutOfMemory` and :class:`InferenceError`.
        """
        step = len(values) if self.input_shape[0] is None else 1
        parts = [self._run(values[start : start + step]) for start in range(0, len(values), step)]
        return parts[0] if len(parts) == 1 else [np.concatenate(each) for each in zip(*parts, strict=True)]

    def _run(self, values: Values) -> list[Values]:
        with self._lock, translated(f"an input of shape {values.shape}", self.device):
            self._request.infer({0: np.ascontiguousarray(values, self.input_dtype)}, share_inputs=True)
            return [tensor.data.copy() for tensor in self._request.output_tensors]
