"""The network backend: an ONNX graph, loaded once and shared by threads."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from imgpipe.errors import InferenceError, ModelMismatch
from imgpipe.images.image import Image
from imgpipe.inference.onnx_file import OpenedOnnx, open_onnx
from imgpipe.matting.letterbox import Placement
from imgpipe.matting.matte import CoarseMatte, Matte
from imgpipe.matting.models import MattingModel
from imgpipe.matting.preprocess import Tensor, author_input, rembg_alpha, rembg_input
from imgpipe.matting.refine import finish
from imgpipe.records import ModelUse
from imgpipe.settings import RembgSettings

#: How far outside 0..1 an answer may lie by rounding.
_RANGE_SLACK = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """``raw``: the network's probabilities, float32 (size, size); ``placement``: where the picture lies in
    it; ``None`` in rembg's way of feeding."""

    raw: Tensor
    placement: Placement | None


class OnnxNetwork:
    """One graph, run by ``runtime`` on ``device`` (cpu or cuda).

    ``device``: ``cpu``, ``cuda`` or ``auto``. Raises what :func:`open_onnx` raises, and
    :class:`ModelMismatch` for another contract than (batch, 3, size, size) float32 -> (batch, 1, size, size).
    """

    def __init__(self, path: Path, contract: MattingModel, *, device: str = "auto") -> None:
        self._opened = open_onnx(path, device)
        self.runtime, self.device = self._opened.runtime, self._opened.device
        #: Why it is on the CPU although a GPU was to be expected, or nothing.
        self.notes = (self._opened.fallback_reason,) if self._opened.fallback_reason else ()
        self.contract = contract
        self.size = _read_size(path, self._opened, contract)

    def run(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """(3, size, size) each -> probabilities (size, size) each, in one call where the graph's batch is
        free, else one call per picture. Thread-safe. Raises :class:`InferenceError` (the run failed, NaN)
        and :class:`ModelMismatch` (shape or range)."""
        if not inputs:
            return []
        batch = np.stack(inputs)
        raw = self._opened(batch)[0]
        expected = (len(batch), 1, self.size, self.size)
        if raw.shape != expected:
            raise ModelMismatch(f"matting network: expected an output of shape {expected}, got {raw.shape}")
        if not np.isfinite(raw).all():
            raise InferenceError("the matting network answered with NaN or Inf; try device cpu")
        low, high = float(raw.min()), float(raw.max())
        if low < -_RANGE_SLACK or high > 1 + _RANGE_SLACK:
            raise ModelMismatch(
                f"matting network: expected probabilities in 0..1, got {low:.4g}..{high:.4g}; "
                "the graph must end in a sigmoid"
            )
        return [np.asarray(answer, np.float32) for answer in raw[:, 0]]


class OnnxMatter:
    """Matting by a network. ``preprocess`` of the settings says how it is fed."""

    def __init__(self, network: OnnxNetwork, settings: RembgSettings, model: ModelUse) -> None:
        self.model = model
        self._network = network
        self._settings = settings

    def matte(self, image: Image) -> Matte:
        """Cut the subject out of ``image``; raises :class:`InferenceError`."""
        return self.matte_all([image])[0]

    def matte_all(self, images: Sequence[Image]) -> list[Matte]:
        """The same for several pictures, in one network call where the graph allows."""
        started = time.perf_counter()
        answers = self.answer(images)
        each = (time.perf_counter() - started) / max(len(images), 1)
        mattes = [
            finish(image, self.coarse(image, answer), self._settings, {"network": each})
            for image, answer in zip(images, answers, strict=True)
        ]
        return [replace(matte, reasons=(*matte.reasons, *self._network.notes)) for matte in mattes]

    def answer(self, images: Sequence[Image]) -> list[Answer]:
        """The network's raw probabilities for each picture."""
        contract, size = self._network.contract, self._network.size
        if self._settings.preprocess == "rembg":
            squares = [rembg_input(image, contract.rembg, size) for image in images]
            return [Answer(raw, None) for raw in self._network.run(squares)]
        fed = [author_input(image, contract.author, size) for image in images]
        raws = self._network.run([square for square, _ in fed])
        return [Answer(raw, placement) for raw, (_, placement) in zip(raws, fed, strict=True)]

    def coarse(self, image: Image, answer: Answer) -> CoarseMatte:
        """The raw answer as an alpha of the picture's size, with its evidence.

        The evidence is the largest raw probability inside the picture: one below
        ``subject_minimum`` of the settings is "no subject", however the mask would look when stretched.
        """
        height, width = image.height, image.width
        if answer.placement is None:
            inside = answer.raw
            clip = self._network.contract.rembg_clips
            alpha = rembg_alpha(answer.raw, height, width, clip=clip)
        else:
            inside = answer.placement.inner(answer.raw)
            alpha = np.clip(answer.placement.take(answer.raw), 0.0, 1.0)
        evidence, minimum = float(inside.max()), self._settings.subject_minimum
        refusal = ""
        if evidence < minimum:
            refusal = f"network maximum {evidence:.4f}, at least {minimum:g} needed"
        elif alpha is None:
            refusal = f"the network answered {evidence:.4f} everywhere, no min-max exists"
        if alpha is None:
            alpha = np.zeros((height, width), np.float32)
        return CoarseMatte(
            alpha=alpha,
            evidence=evidence,
            confidence=0.0 if refusal else _decisiveness(inside),
            refusal=refusal,
            details={"raw_minimum": float(inside.min()), "raw_mean": float(inside.mean())},
        )


def _decisiveness(raw: Tensor) -> float:
    """Of all that is not clearly background (above 0.1), the share that is clearly subject (above 0.9)."""
    candidates = int(np.count_nonzero(raw > 0.1))
    return int(np.count_nonzero(raw > 0.9)) / candidates if candidates else 0.0


def _read_size(path: Path, opened: OpenedOnnx, contract: MattingModel) -> int:
    shape = opened.input_shape
    if len(shape) != 4 or shape[1] not in (3, None) or opened.input_dtype != np.float32:
        raise ModelMismatch(
            f"{path.name}: expected a float32 input of shape (batch, 3, size, size), got "
            f"{opened.input_dtype} {shape}"
        )
    if shape[0] is not None and shape[0] > 1:
        raise ModelMismatch(f"{path.name}: expected batch 1 or a free batch, the graph says {shape[0]}")
    sides = [side for side in shape[2:] if side is not None]
    size = contract.size or (sides[0] if sides else 1024)
    if any(side != size for side in sides):
        raise ModelMismatch(f"{path.name}: expected {size}x{size} px input, the graph says {shape[2:]}")
    return size
