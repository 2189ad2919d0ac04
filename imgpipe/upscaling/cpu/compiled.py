"""numba settings for this package's kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba

#: Channels of Real-ESRGAN's networks. A constant, so that the compiler unrolls and vectorises over them.
CHANNELS = 64


def compiled(function: Callable[..., Any]) -> Any:
    """``function`` compiled to machine code that runs without the GIL and is cached on disk.

    numba compiles it again when the function's own file changes, but not when a function that it calls
    changes in another file: run `make clean` then.
    """
    # Fused multiply-add and the sign of zero are left to the compiler, the order of sums is not.
    options: dict[str, Any] = {"nogil": True, "fastmath": {"contract", "nsz"}, "error_model": "numpy"}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no writable cache folder: each process compiles it again, in seconds
        return numba.njit(**options)(function)
