"""Files and values for tests: OpenCV's own decoding, and results that must be there."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
import numpy.typing as npt

T = TypeVar("T")


def present(value: T | None) -> T:
    """``value``, which may not be None."""
    assert value is not None
    return value


def opencv_decode(data: bytes | npt.NDArray[np.uint8], flags: int = cv2.IMREAD_COLOR) -> npt.NDArray[Any]:
    """(height, width) or (height, width, channels), BGR(A) order; fails where OpenCV cannot decode it."""
    return present(cv2.imdecode(np.frombuffer(data, np.uint8), flags))


def opencv_read(path: Path, flags: int = cv2.IMREAD_COLOR) -> npt.NDArray[Any]:
    """The file at ``path``, as :func:`opencv_decode` gives it."""
    return opencv_decode(path.read_bytes(), flags)
