"""`imgpipe-clean`: a network that takes JPEG's damage out, as much of it as it is told there is."""

from __future__ import annotations

import numpy as np

from imgpipe.fixing.sliding_dct import Float
from imgpipe.inference.onnx_file import open_onnx
from imgpipe.inference.weights import LocatedWeights
from imgpipe.records import ModelUse

#: Strength 1: JPEG of quality 20, whose steps are 250% of T.81's.
MOST_PERCENT = 250.0


class CleanNetwork:
    """Loaded from ``located``; ``device``: auto, cpu or cuda. Safe to call from several threads.

    Raises what :func:`imgpipe.inference.onnx_file.open_onnx` raises.
    """

    def __init__(self, located: LocatedWeights, device: str) -> None:
        self._network = open_onnx(located.path, device)
        self.model = ModelUse(located.name, "onnx", located.sha256, "fp32", self._network.device)

    def change(self, colour: Float, strength: float) -> Float:
        """What is to be added to ``colour`` (h, w, 1 or 3), 0..255, of damage of ``strength``, 0..1."""
        height, width, channels = colour.shape
        padded = np.pad(colour, ((0, height % 2), (0, width % 2), (0, 0)), "edge") / np.float32(255)
        planes = [*np.broadcast_to(padded, (*padded.shape[:2], 3)).transpose(2, 0, 1)]
        fed = np.stack([*planes, np.full_like(planes[0], strength)])[None]
        change = (self._network(fed)[0][0] - fed[0, :3]).transpose(1, 2, 0)[:height, :width]
        return np.asarray(change if channels == 3 else change.mean(axis=2, keepdims=True)) * np.float32(255)


def strength_of(quality: int, share: float = 1.0) -> float:
    """Of ``share`` of the damage by libjpeg's quality, 1..100: the root of the steps over quality 20's, 1 at
    most."""
    percent = 5000 / quality if quality < 50 else 200 - 2 * quality
    return float(min(1.0, (share * percent / MOST_PERCENT) ** 0.5))
