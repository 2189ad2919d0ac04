"""A torch network on a GPU, which is only given orders: no thread waits for it but those that want a result.

Imported only where a network runs: this module loads torch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from imgpipe.inference.copies import Copies, Download, Mark, copies_for
from imgpipe.inference.failures import translated
from imgpipe.inference.memory_model import MemoryModel
from imgpipe.inference.torch_network import TorchNetwork
from imgpipe.pixels.strips import spans
from imgpipe.upscaling.device_finish import finished
from imgpipe.upscaling.network import Answer, Finishing, Part, Sent
from imgpipe.upscaling.network_input import NetworkInput
from imgpipe.upscaling.quantising_network import QuantisingNetwork, quantised

#: Of results that were sent and not yet read: five of 4096x4096 with 8 bits.
RING_BYTES = 2**28
#: Batches that a device has at once: one that it computes and the next.
_AT_ONCE = 2
#: Of a source, that are converted at once.
_ROWS = 64


class Held:
    """A picture (h, w, 3) float32, and alpha (h, w) where it is finished on the device; there from its first
    window on."""

    def __init__(self, pixels: Tensor, alpha: Tensor | None) -> None:
        self._host = pixels, alpha
        self._there: tuple[Tensor, Tensor | None] | None = None

    def on(self, copies: Copies) -> tuple[Tensor, Tensor | None]:
        """Both on the device."""
        if self._there is None:
            pixels, alpha = self._host
            self._there = copies.upload(pixels), None if alpha is None else copies.upload(alpha)
        return self._there


class TorchDeviceNetwork(QuantisingNetwork):
    """A :class:`imgpipe.upscaling.network.DeviceNetwork`, and a network of strips for who wants those."""

    def __init__(self, inner: TorchNetwork, copies: Copies | None = None) -> None:
        super().__init__(inner)
        self._copies = copies or copies_for(inner.device, RING_BYTES)
        self._under_way: deque[Mark] = deque()

    def hold(self, source: NetworkInput, finishing: Finishing | None) -> Held:
        """See :meth:`imgpipe.upscaling.network.DeviceNetwork.hold`."""
        height, width, _ = source.shape
        with translated(f"a picture of {width} x {height} px", "cpu"):
            pixels = self._copies.buffer((height, width, 3), torch.float32)
            written = pixels.numpy()
            for rows in spans(0, height, _ROWS):
                written[rows] = source[rows, :]
            alpha = source.alpha(slice(0, height)) if finishing is not None else None
            if alpha is None:
                return Held(pixels, None)
            plane = self._copies.buffer((height, width), torch.float32)
            plane.numpy()[:] = alpha
            return Held(pixels, plane)

    def wait_for_turn(self) -> None:
        """See :meth:`imgpipe.upscaling.network.DeviceNetwork.wait_for_turn`."""
        while len(self._under_way) >= _AT_ONCE:
            with translated("what is under way", self.device):
                self._under_way.popleft().synchronize()

    def start(self, parts: Sequence[Part], give: Callable[[int, Sent], None], *, full: bool) -> None:
        """See :meth:`imgpipe.upscaling.network.DeviceNetwork.start`."""
        row, column = parts[0].row, parts[0].column
        what = f"{len(parts)} window(s) of {column.window_px} x {row.window_px} px"
        with torch.inference_mode(), translated(what, self.device):
            begin = self._copies.mark()
            pictures = [part.held.on(self._copies) for part in parts]
            windows = torch.stack(
                [
                    pixels[part.row.window, part.column.window]
                    for (pixels, _), part in zip(pictures, parts, strict=True)
                ]
            )
            strips = self.inner.unchecked(windows.permute(0, 3, 1, 2), full=full)
            levels, mean, sums = _together(windows.shape, strips, self.scale)
            numbers = torch.isfinite(sums).double()[:, None]
            end = self._copies.mark()
            self._under_way.append(end)
            for index, (part, (_, alpha)) in enumerate(zip(parts, pictures, strict=True)):
                own = levels[index], mean[index], windows[index]
                sent = [*_made(part, own, alpha, numbers[index], self.scale)]
                give(index, _Sent(self._copies.download(sent), what, self.device, (begin, end), len(parts)))

    def memory_model(self) -> MemoryModel:
        """What a window takes that is finished on the device."""
        return self.inner.memory_model(partial(_finished_whole, scale=self.scale))

    def release_cached_memory(self) -> None:
        """Of what is under way as well, which is waited for."""
        self._under_way.clear()
        if self.inner.device.type == "cuda":
            torch.cuda.synchronize(self.inner.device)
        super().release_cached_memory()


class _Sent:
    def __init__(
        self, download: Download, what: str, device: str, marks: tuple[Mark, Mark], shared_by: int
    ) -> None:
        self._download, self._what, self._device = download, what, device
        self._marks, self._shared_by = marks, shared_by
        self.release = download.release

    def read(self) -> Answer:
        with translated(self._what, self._device):
            levels, *means, numbers = self._download.read()
            seconds = self._marks[0].elapsed_time(self._marks[1]) / 1000 / self._shared_by
        finite, *colours = (float(number) for number in numbers)
        *shift, correction = colours or (0.0, 0.0)
        return Answer(
            levels,
            means[0] if means else None,
            seconds,
            finite=bool(finite),
            shift_255=max(shift) * 255,
            correction_255=correction * 255,
        )


def _together(
    shape: Sequence[int], strips: Iterator[tuple[int, Tensor]], scale: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Levels and means of whole windows, (n, h, w, 3), and the sum of each: NaN and infinity survive it."""
    count, height, width, _ = shape
    levels = mean = sums = torch.empty(0)
    for start, rows in strips:
        values = rows.permute(0, 2, 3, 1).contiguous()
        del rows
        own = values.sum((1, 2, 3))
        made = quantised(values, scale)
        del values
        stop = start + made[1].shape[1]
        if stop - start == height:
            return *made, own
        if start == 0:
            levels = made[0].new_empty((count, height * scale, width * scale, 3))
            mean = made[1].new_empty((count, height, width, 3))
            sums = torch.zeros_like(own)
        levels[:, start * scale : stop * scale], mean[:, start:stop] = made
        sums = sums + own
    return levels, mean, sums


def _made(
    part: Part, own: tuple[Tensor, Tensor, Tensor], alpha: Tensor | None, finite: Tensor, scale: int
) -> Iterator[Tensor]:
    """What crosses the bus: the finished picture, or levels and means of the kept part; and numbers."""
    levels, mean, window = own
    if part.finishing is not None:
        pixels, colours = finished(levels, mean, window, alpha, part.finishing)
        yield pixels
        yield torch.cat([finite, colours])
        return
    yield levels[part.row.core(scale), part.column.core(scale)].contiguous()
    yield mean[part.row.core(1), part.column.core(1)].contiguous()
    yield finite


def _finished_whole(pixels: Tensor, strips: Iterator[tuple[int, Tensor]], scale: int) -> object:
    """The largest of what is done with a window: 16 bits, matched with alpha."""
    windows = pixels.permute(0, 2, 3, 1)
    levels, mean, _ = _together(windows.shape, strips, scale)
    return finished(levels[0], mean[0], windows[0], windows[0, ..., 0], Finishing(16, True))
