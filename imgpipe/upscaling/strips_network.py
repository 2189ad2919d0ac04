"""A network that answers when asked, such as onnxruntime's, as one that is given orders."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from imgpipe.upscaling.network import Answer, Finishing, Network, Part, Sent, whole_windows
from imgpipe.upscaling.network_input import NetworkInput


class StripsNetwork:
    """An :class:`imgpipe.upscaling.network.DeviceNetwork` that is done when an order returns."""

    def __init__(self, inner: Network) -> None:
        self._inner = inner

    def hold(self, source: NetworkInput, finishing: Finishing | None) -> NetworkInput:
        return source

    def wait_for_turn(self) -> None:
        """Nothing is under way between orders."""

    def start(self, parts: Sequence[Part], give: Callable[[int, Sent], None], *, full: bool) -> None:
        """See :meth:`imgpipe.upscaling.network.DeviceNetwork.start`.

        fp32 is the network's own matter; where it was needed each part is computed alone, as what is not
        finite in one picture changes no other.
        """
        begin = time.perf_counter()
        self._inner.take_retries()
        windows = np.stack([part.held[part.row.window, part.column.window] for part in parts])
        levels, mean = whole_windows(self._inner, windows)
        retries = self._inner.take_retries()
        if retries and len(parts) > 1:
            for index, part in enumerate(parts):
                self.start([part], partial(_give_as, give, index), full=full)
            return
        each = (time.perf_counter() - begin) / len(parts)
        scale = self._inner.scale
        for index, part in enumerate(parts):
            own = levels[index, part.row.core(scale), part.column.core(scale)]
            means = mean[index, part.row.core(1), part.column.core(1)]
            give(index, Done(Answer(own, means, each, fp32_retries=retries)))

    def release_cached_memory(self) -> None:
        self._inner.release_cached_memory()


def _give_as(give: Callable[[int, Sent], None], index: int, _: int, sent: Sent) -> None:
    give(index, sent)


@dataclass(frozen=True, slots=True, eq=False)
class Done:
    """A :class:`imgpipe.upscaling.network.Sent` that is there."""

    answer: Answer

    def read(self) -> Answer:
        return self.answer

    def release(self) -> None:
        """The memory is its own."""
