"""What runtimes raise while a network runs, as this package's errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from imgpipe.errors import DeviceFault, InferenceError, OutOfMemory

#: Parts of messages, in small letters, with which runtimes say that memory ran out: C++, torch's allocators,
#: cuDNN's and cuBLAS's status, cuDNN without room for any of its ways, onnxruntime's arena.
_NO_MEMORY = (
    "out of memory",
    "defaultcpuallocator",
    "can't allocate",
    "bad_alloc",
    "failed to allocate",
    "_alloc_failed",
    "_allocation_failed",
    "unable to find an engine",
    "no valid execution plans",
    "smaller than requested bytes",
)

#: The same for a GPU, its driver or its libraries that fail with any picture: illegal access, ECC, a card
#: that there are no kernels for. CUDA gives this process nothing more after most of them.
_DEVICE_FAULT = (
    "cuda error",
    "cuda failure",
    "cudnn failure",
    "cublas failure",
    "cuda driver",
    "no kernel image",
    "illegal memory access",
    "misaligned address",
    "uncorrectable ecc",
    "launch failure",
    "device-side assert",
    "no cuda gpus",
    "cudnn_status_not_initialized",
    "cudnn_status_execution_failed",
    "cudnn_status_internal_error",
    "cudnn_status_sublibrary",
    "cublas_status_not_initialized",
    "cublas_status_execution_failed",
    "cublas_status_internal_error",
    "cublas_status_arch_mismatch",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` says that memory ran out, on a GPU or on the host."""
    return isinstance(error, MemoryError) or (_of_runtime(error) and _says(error, _NO_MEMORY))


def is_device_fault(error: BaseException) -> bool:
    """Whether ``error`` is the GPU's, so that neither the picture nor the weights file is to blame."""
    return _of_runtime(error) and not is_out_of_memory(error) and _says(error, _DEVICE_FAULT)


def _of_runtime(error: BaseException) -> bool:
    return isinstance(error, RuntimeError) or type(error).__module__.startswith("onnxruntime")


def _says(error: BaseException, signs: tuple[str, ...]) -> bool:
    message = str(error).lower()
    return any(sign in message for sign in signs)


@contextmanager
def translated(
    what: str, device: str, errors: tuple[type[Exception], ...] = (RuntimeError, MemoryError)
) -> Iterator[None]:
    """``errors`` become :class:`OutOfMemory`, :class:`DeviceFault` (which stops the run) or
    :class:`InferenceError`. ``what``: the input, in words."""
    try:
        yield
    except errors as exc:
        if is_out_of_memory(exc):
            reason = exc.with_traceback(None)  # its frames hold the tensors that did not fit
            raise OutOfMemory(f"{what} does not fit into the memory of {device}") from reason
        if is_device_fault(exc):
            raise DeviceFault(
                f"{device} failed on {what}: {first_line(exc)}; start again, which goes on where this run "
                "stopped; where it comes back, look at `nvidia-smi -q` and `imgpipe doctor`"
            ) from exc.with_traceback(None)
        raise InferenceError(
            f"the network failed on {what}: {last_line(exc)}; if other images work, this is a defect worth "
            "reporting"
        ) from exc


def not_finite(precision: str) -> InferenceError:
    return InferenceError(
        f"the network gave NaN or infinity in {precision}: its weights are damaged or it needs another input "
        "range; try another upscale.model"
    )


def first_line(error: BaseException) -> str:
    """The first line of a message (CUDA's has general advice after it), with its class."""
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:300] or 'no message'}"


def last_line(error: BaseException) -> str:
    """The last line of a message (the lines before OpenVINO's name places in its source), with its class."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[-1].strip()[:200] if lines else 'no message'}"
