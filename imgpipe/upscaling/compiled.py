"""How this room's own loops become machine code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba

#: What these loops are compiled for, and Real-ESRGAN's compact networks have: with the number known, the
#: compiler makes vector instructions of a loop over channels.
CHANNELS = 64


def compiled(function: Callable[..., Any]) -> Any:
    """``function`` as machine code that runs without the interpreter's lock, kept between processes.

    That is made anew when the function's own file changes, not when a file that it calls does: `make clean`.
    """
    # Fused multiply-add and the sign of zero are left to the compiler, the order of sums is not.
    options: dict[str, Any] = {"nogil": True, "fastmath": {"contract", "nsz"}, "error_model": "numpy"}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no folder that can be written to: compiled anew by each process, in seconds
        return numba.njit(**options)(function)
