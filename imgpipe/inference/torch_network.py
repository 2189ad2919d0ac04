"""Running a torch network on one window: device, precision, layout, and what is done when it fails.

Imported only where a network runs: this module loads torch.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from imgpipe.inference.failures import not_finite, translated
from imgpipe.inference.memory_model import ASSUMED_MEMORY, MemoryModel
from imgpipe.inference.threads import network_threads

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

#: Convolutions take scratch memory that torch does not show as tensors; measured 1.05..1.2 on CPUs.
SCRATCH_FACTOR = 1.25

#: Edges of the windows that memory is counted on, px: on a GPU those that it computes at once, where what
#: grows with the window outweighs strips of a fixed size.
_GPU_EDGES_PX = (512, 1024, 2048, 4096)

#: Makes the module that runs: (float32 module, dtype of its inner work, device type) -> module from
#: float32 to float32. Where it has a method ``strips``, that gives its output from top to bottom as
#: (first source row, (n, 3, rows, width)), so that nobody ever holds all of it.
Form = Callable[[nn.Module, torch.dtype, str], nn.Module]

#: What is done on a device with a network's output: (input (n, 3, h, w), :meth:`TorchNetwork.unchecked`).
Finish = Callable[[Tensor, Iterator[tuple[int, Tensor]]], object]


def cast_whole(module: nn.Module, dtype: torch.dtype, device_type: str) -> nn.Module:
    """The form that fits every network: input and all inner work in ``dtype``, the result in float32."""
    if dtype == torch.float32:
        return module
    return _Cast(copy.deepcopy(module).to(dtype), dtype)


class TorchNetwork:
    """An image-to-image module on one device, called with float32 and answering with float32.

    ``module``: float32, (1, 3, h, w) in 0..1 -> (1, 3, h * scale, w * scale). ``form`` turns it into what
    runs in ``precision`` and, should that give NaN, in fp32. Tensors are channels_last: 2 to 4.7 times
    faster than NCHW on CPUs, and what tensor cores want. On CUDA float32 is IEEE's everywhere, not TF32, and
    equal windows give equal results. Not thread-safe: the owner holds a lock.
    """

    def __init__(
        self, module: nn.Module, *, scale: int, device: str, precision: str, form: Form = cast_whole
    ) -> None:
        torch.set_num_threads(network_threads())
        self.scale = scale
        self.device = torch.device(device)
        self.precision = precision
        self._fp32_retries = 0
        if self.device.type == "cuda":
            _compute_exactly()
        self._full = self._active = _for_inference(form(module, torch.float32, self.device.type))
        if precision != "fp32":
            self._active = _for_inference(form(module, _DTYPES[precision], self.device.type))
        with translated("the network's weights", device):
            self._active.to(self.device)

    def strips(self, windows: npt.NDArray[np.float32]) -> Iterator[tuple[int, Tensor]]:
        """Enlarge (n, h, w, 3) float32 RGB in 0..1: (first source row, rows) from top to bottom.

        The rows are finite (n, rows * scale, w * scale, 3) float32 tensors on the device, not clamped.
        Where a low-precision strip has NaN or infinity, all windows of the call are computed again in
        fp32 and counted: the strips then begin anew. Raises :class:`InferenceError` where fp32 is not
        finite either; torch's own errors pass through (see :func:`imgpipe.inference.failures.translated`).
        """
        pixels = torch.from_numpy(np.ascontiguousarray(windows)).to(self.device).permute(0, 3, 1, 2)
        for full in (False,) if self.precision == "fp32" else (False, True):
            if full:
                self._fp32_retries += len(windows)
            for start, rows in self.unchecked(pixels, full=full):
                if not _is_finite(rows):
                    del rows  # the memory is needed for the same again
                    break
                yield start, rows.permute(0, 2, 3, 1).contiguous()
            else:
                return
        raise not_finite("fp32 too")

    def unchecked(self, pixels: Tensor, *, full: bool = False) -> Iterator[tuple[int, Tensor]]:
        """(first source row, (n, 3, rows * scale, w * scale) float32) of (n, 3, h, w) on the device.

        Nothing is waited for. ``full``: in fp32. What is not finite is given as it is.
        """
        # The full module stays on the host until it is first needed: it is needed hardly ever.
        return _strips((self._full if full else self._active).to(self.device), pixels)

    def __call__(self, window: npt.NDArray[np.float32]) -> Tensor:
        """One window (h, w, 3) as a whole: (h * scale, w * scale, 3); see :meth:`strips`."""
        with torch.inference_mode():
            parts: list[Tensor] = []
            for start, rows in self.strips(window[None]):
                if start == 0:
                    parts.clear()
                parts.append(rows[0])
            return torch.cat(parts)

    def take_retries(self) -> int:
        """Windows computed again in fp32 since the last call."""
        count, self._fp32_retries = self._fp32_retries, 0
        return count

    def memory_model(self, finish: Finish | None = None) -> MemoryModel:
        """What a window takes, from the tensors that are alive at once.

        With ``finish``, as on a GPU, where it is planned for what is free, that is in fp32, as which any
        window may be computed again.
        """
        if finish is None:
            return memory_of(self._active, SCRATCH_FACTOR)
        return memory_of(self._full, SCRATCH_FACTOR, _GPU_EDGES_PX, finish)

    def release_cached_memory(self) -> None:
        """Give memory that torch keeps for reuse back to the device."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


def _compute_exactly() -> None:
    """fp32 on CUDA is TF32 (10 bits of mantissa) in cuDNN otherwise; and the same input the same result."""
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False


def memory_of(
    module: nn.Module, factor: float, edges_px: Sequence[int] = (512, 1024), finish: Finish | None = None
) -> MemoryModel:
    """:meth:`MemoryModel.of_peaks` of ``module``'s tensors; an assumption where they cannot be counted."""
    try:
        return MemoryModel.of_peaks(partial(peak_tensor_bytes, module, finish=finish), factor, edges_px)
    except (NotImplementedError, RuntimeError):
        # Some architectures read values while they run, which tensors without values cannot give.
        return ASSUMED_MEMORY


def peak_tensor_bytes(module: nn.Module, width: int, height: int, finish: Finish | None = None) -> int:
    """Most bytes of tensors alive at once while ``module`` runs on a (1, 3, height, width) input.

    ``finish``: what is made of its strips.

    Runs on the meta device: nothing is computed, so any size costs milliseconds.
    """
    shadow = copy.deepcopy(module).to("meta")
    with torch.inference_mode(), _LiveBytes() as live:
        pixels = torch.empty((1, 3, height, width), device="meta").to(memory_format=torch.channels_last)
        if finish is not None:
            finish(pixels, _strips(shadow, pixels))
        else:
            for _ in islice(_strips(shadow, pixels), 2):  # the second one has rows around it, as all others
                pass
    return int(live.peak)


def _strips(module: nn.Module, pixels: Tensor) -> Iterator[tuple[int, Tensor]]:
    own = getattr(module, "strips", None)
    if own is not None:
        yield from own(pixels)
    else:
        yield 0, module(pixels)


class _LiveBytes(TorchDispatchMode):
    """Adds up the storages that operations create, until they are freed."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = 0
        self._now = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in torch.utils._pytree.tree_leaves(result):
            if isinstance(tensor, Tensor):
                self._add(tensor.untyped_storage())
        return result

    def _add(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key in self._known:
            return
        size = storage.nbytes()
        self._known.add(key)
        self._now += size
        self.peak = max(self.peak, self._now)
        weakref.finalize(storage, self._drop, key, size)

    def _drop(self, key: int, size: int) -> None:
        self._known.discard(key)
        self._now -= size


class _Cast(nn.Module):
    def __init__(self, inner: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.inner = inner
        self._dtype = dtype

    def forward(self, pixels: Tensor) -> Tensor:
        result: Tensor = self.inner(pixels.to(self._dtype))
        return result.float()


def _for_inference(module: nn.Module) -> nn.Module:
    return module.eval().requires_grad_(False).to(memory_format=torch.channels_last)


def _is_finite(values: Tensor) -> bool:
    # NaN and infinity survive a sum, and a finite picture cannot overflow it; one pass without the
    # full-size boolean that isfinite would make first.
    return bool(torch.isfinite(values.sum()))
