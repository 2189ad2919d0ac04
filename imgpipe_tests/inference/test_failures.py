"""What runtimes say when something fails, and whose fault it is."""

from __future__ import annotations

import pytest
import torch

from imgpipe.errors import DeviceFault, ImgpipeError, InferenceError, OutOfMemory
from imgpipe.inference.failures import translated


class Fail(Exception):
    """As onnxruntime's: no common base class."""


Fail.__module__ = "onnxruntime.capi.onnxruntime_pybind11_state"

NO_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of"),
    torch.AcceleratorError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("GET was unable to find an engine to execute this computation"),
    RuntimeError("[cudnn_frontend] Error: No valid execution plans built."),
    Fail("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Failed to allocate memory for requested buffer"),
    Fail("BFCArena: Available memory of 1024 is smaller than requested bytes of 4096"),
    Fail("CUDNN failure 4: CUDNN_STATUS_ALLOC_FAILED ; GPU=0"),
    Fail("CUDA failure 2: out of memory ; GPU=0"),
    RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
    MemoryError(),
]

DEVICE = [
    torch.AcceleratorError("CUDA error: an illegal memory access was encountered\nCompile with"),
    RuntimeError("CUDA error: uncorrectable ECC error encountered"),
    RuntimeError("CUDA error: no kernel image is available for execution on the device"),
    RuntimeError("CUDA error: unspecified launch failure"),
    RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
    RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasGemmEx`"),
    RuntimeError("No CUDA GPUs are available"),
    Fail("CUDA failure 700: an illegal memory access was encountered ; GPU=0 ; expr=cudaStreamSynchronize"),
    Fail("CUDNN failure 1001: CUDNN_STATUS_NOT_INITIALIZED ; GPU=0"),
]

OTHER = [
    RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
    Fail("[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Got invalid dimensions for input: x"),
]


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        *((error, OutOfMemory) for error in NO_MEMORY),
        *((error, DeviceFault) for error in DEVICE),
        *((error, InferenceError) for error in OTHER),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_failure_gets_its_class(raised: Exception, expected: type[ImgpipeError]) -> None:
    with pytest.raises(ImgpipeError) as caught, translated("a picture", "cuda", (Exception,)):
        raise raised
    assert type(caught.value) is expected
    assert caught.value.__cause__ is raised


def test_a_device_fault_says_what_failed_and_what_to_do() -> None:
    words = r"^cuda failed on a picture: .*illegal memory access [^\n]*nvidia-smi -q"
    with pytest.raises(DeviceFault, match=words), translated("a picture", "cuda"):
        raise DEVICE[0]
