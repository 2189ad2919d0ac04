"""The same network over all 8 turns and mirrorings of its input, averaged."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from imgpipe.upscaling.network import Floats, Network, Strip, whole_windows


class SelfEnsemble:
    """A :class:`Network` that averages another one's results over the square's 8 symmetries.

    Geometric self-ensemble (Timofte et al., Seven Ways to Improve Example-Based Single Image Super
    Resolution, 2016): 8 times the time, less noise where the network is not sure. Tiles stay exact: a
    window's turned result depends on the same context as the upright one.
    """

    def __init__(self, inner: Network) -> None:
        self._inner = inner
        self.scale, self.precision, self.device = inner.scale, inner.precision, inner.device

    def strips(self, windows: Floats) -> Iterator[Strip]:
        """One strip: the mean of all eight; see :meth:`imgpipe.upscaling.network.Network.strips`."""
        count, height, width, channels = windows.shape
        total = np.zeros((count, height * self.scale, width * self.scale, channels), np.uint32)
        mean = np.zeros_like(windows)
        for turns in range(4):
            for mirrored in (False, True):
                turned = np.ascontiguousarray(_turned(windows, turns, mirrored))
                levels, own = whole_windows(self._inner, turned)
                total += _turned_back(levels, turns, mirrored)
                mean += _turned_back(own, turns, mirrored)
        yield Strip(0, ((total + 4) // 8).astype(np.uint16), mean / np.float32(8))

    def take_retries(self) -> int:
        return self._inner.take_retries()

    def release_cached_memory(self) -> None:
        self._inner.release_cached_memory()


def _turned(values: npt.NDArray[Any], turns: int, mirrored: bool) -> npt.NDArray[Any]:
    rotated = np.rot90(values, turns, axes=(1, 2))
    return rotated[:, :, ::-1] if mirrored else rotated


def _turned_back(values: npt.NDArray[Any], turns: int, mirrored: bool) -> npt.NDArray[Any]:
    upright = values[:, :, ::-1] if mirrored else values
    return np.rot90(upright, -turns, axes=(1, 2))
