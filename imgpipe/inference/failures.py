"""What runtimes raise while a network runs, as this package's errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from imgpipe.errors import InferenceError, OutOfMemory

#: Parts of the messages with which torch, OpenVINO, onnxruntime and C++ say that memory ran out.
_NO_MEMORY = ("out of memory", "defaultcpuallocator", "can't allocate", "bad_alloc", "failed to allocate")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` says that memory ran out, on a GPU or on the host."""
    if isinstance(error, MemoryError):
        return True
    of_runtime = isinstance(error, RuntimeError) or type(error).__module__.startswith("onnxruntime")
    return of_runtime and any(sign in str(error).lower() for sign in _NO_MEMORY)


@contextmanager
def translated(
    what: str, device: str, errors: tuple[type[Exception], ...] = (RuntimeError, MemoryError)
) -> Iterator[None]:
    """``errors`` become :class:`OutOfMemory` or :class:`InferenceError`. ``what``: the input, in words."""
    try:
        yield
    except errors as exc:
        if is_out_of_memory(exc):
            reason = exc.with_traceback(None)  # its frames hold the tensors that did not fit
            raise OutOfMemory(f"{what} does not fit into the memory of {device}") from reason
        raise InferenceError(
            f"the network failed on {what}: {last_line(exc)}; if other images work, this is a defect worth "
            "reporting"
        ) from exc


def last_line(error: BaseException) -> str:
    """The last line of a message (the lines before OpenVINO's name places in its source), with its class."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[-1].strip()[:200] if lines else 'no message'}"
