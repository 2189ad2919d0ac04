"""Image files as OpenCV decodes them, for tests that must not rely on imgpipe's own decoder."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt


def opencv_decode(data: bytes, flags: int = cv2.IMREAD_COLOR) -> npt.NDArray[Any]:
    """(height, width) or (height, width, channels), BGR(A) order; fails where OpenCV cannot decode it."""
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    assert pixels is not None, "OpenCV cannot decode the file"
    return pixels
