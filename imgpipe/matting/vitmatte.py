"""ViTMatte as a refiner: alpha by a network that sees the picture and its trimap.

Yao, Wang, Yang and Wang 2023, "ViTMatte: Boosting Image Matting with Pretrained Plain Vision Transformers".
Fed as rembg 2.0.86 does (``rembg/matting.py``): RGB and trimap in 0..1 as four channels, squashed to the
graph's own size. A free size is refused: exports keep the position tables of the size that they were made at,
and answer wrongly at any other, without an error.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from imgpipe.errors import InferenceError, ModelMismatch
from imgpipe.images.image import Pixels
from imgpipe.inference.batch_queue import BatchQueue
from imgpipe.inference.onnx_file import open_onnx
from imgpipe.matting.letterbox import resize
from imgpipe.matting.matte import Alpha
from imgpipe.matting.trimap import FOREGROUND, UNKNOWN, Trimap

#: Sides of the input are multiples of this: patches of 16 px, halved once more by the detail branch.
_MULTIPLE = 32


class VitMatte:
    """The graph at ``path`` on ``device`` (cpu, cuda, auto). Threads that share it take turns.

    ``facts``: JSON-able, for the row. Raises what :func:`open_onnx` raises, and :class:`ModelMismatch` for a
    graph without a float32 or float16 input (1 or free, 4, height, width) of fixed sides, multiples of 32 px.
    """

    def __init__(self, path: Path, device: str, facts: dict[str, Any]) -> None:
        self._opened = open_onnx(path, device, 0)
        self.facts = {**facts, "runtime": self._opened.runtime, "device": self._opened.device}
        shape, dtype = self._opened.input_shape, self._opened.input_dtype
        sides = [side for side in shape[2:] if side is not None and side % _MULTIPLE == 0]
        if (
            len(sides) != 2
            or shape[1] != 4
            or shape[0] not in (1, None)
            or dtype not in (np.float32, np.float16)
        ):
            raise ModelMismatch(
                f"{path.name}: expected ViTMatte's input, float32 or float16 (1, 4, height, width) with "
                f"fixed sides that are multiples of {_MULTIPLE}, got {dtype} {shape}; export it for one size"
            )
        self._height, self._width = sides
        self._queue = BatchQueue(lambda inputs: self._opened(np.stack(inputs))[0])

    def alpha(self, colour: Pixels, trimap: Trimap) -> Alpha:
        """float32 (height, width) 0..1: the network's on unknown pixels, exactly 0 and 1 on known ones.

        ``colour``: uint8 or uint16 (height, width, 3), RGB; ``trimap``: 0, 128 or 255. Raises
        :class:`InferenceError` (the run failed, NaN) and :class:`ModelMismatch` (another shape).
        """
        fed = np.empty((4, self._height, self._width), np.float32)
        picture = colour.astype(np.float32) / np.float32(np.iinfo(colour.dtype).max)
        fed[:3] = resize(picture, self._height, self._width).transpose(2, 0, 1)
        # In between would be values that are none of the three.
        size = (self._width, self._height)
        fed[3] = cv2.resize(trimap, size, interpolation=cv2.INTER_NEAREST_EXACT) / np.float32(255)
        answer, _ = self._queue(fed)
        if answer.shape != (1, self._height, self._width):
            raise ModelMismatch(
                f"ViTMatte: expected an output (1, 1, {self._height}, {self._width}), got one of "
                f"{(1, *answer.shape)}"
            )
        if not np.isfinite(answer).all():
            raise InferenceError("ViTMatte answered with NaN or Inf; try device cpu")
        found = np.clip(answer[0].astype(np.float32), 0.0, 1.0)
        known = (trimap == FOREGROUND).astype(np.float32)
        return np.where(trimap == UNKNOWN, resize(found, *trimap.shape), known)
