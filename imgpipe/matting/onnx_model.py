"""The network backend: an ONNX graph, loaded once and shared by threads."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
from scipy.special import expit

from imgpipe.errors import InferenceError, ModelMismatch
from imgpipe.images.image import Image
from imgpipe.inference.batch_queue import BatchQueue
from imgpipe.inference.onnx_file import OpenedOnnx, open_onnx
from imgpipe.matting.agreement import agreement_of, judged
from imgpipe.matting.letterbox import Placement, Size
from imgpipe.matting.matte import CoarseMatte, Matte
from imgpipe.matting.preprocess import Tensor, author_input, rembg_alpha, rembg_input
from imgpipe.matting.refine import finish
from imgpipe.matting.vitmatte import VitMatte
from imgpipe.records import ModelUse
from imgpipe.settings import RembgSettings
from imgpipe.settings.contracts import Contract

#: How far outside 0..1 an answer may lie by rounding.
_RANGE_SLACK = 1e-3

#: Inputs of so many pixels in all fill a GPU; a CPU is filled by one.
_FILLING_PIXELS = 2**20


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """``raw``: the network's probabilities, float32 (rows, columns); ``placement``: where the picture lies in
    it; ``None`` in rembg's way of feeding. ``waited``: seconds before the network was free for it.
    ``flipped``: with ``flips``, the probabilities of the mirrored input, mirrored back; ``raw`` is then those
    of the input as it is, and :attr:`mean` what counts."""

    raw: Tensor
    waited: float
    placement: Placement | None
    flipped: Tensor | None = None

    @property
    def mean(self) -> Tensor:
        return self.raw if self.flipped is None else (self.raw + self.flipped) * np.float32(0.5)

    def inner(self, values: Tensor) -> Tensor:
        """The picture's part of the network's answer."""
        return values if self.placement is None else self.placement.inner(values)


class OnnxNetwork:
    """One graph, run by ``runtime`` on ``device`` (cpu or cuda).

    ``device``: ``cpu``, ``cuda`` or ``auto``. ``frame``: (height, width) px of its input, ``None`` where it
    follows from the picture. Raises what :func:`open_onnx` raises, and :class:`ModelMismatch` for a graph
    that ``contract`` does not describe: input (batch, 3, height, width), float32 or float16.
    """

    def __init__(self, path: Path, contract: Contract, *, device: str = "auto") -> None:
        self._opened = open_onnx(path, device, contract.which_output)
        self.runtime, self.device = self._opened.runtime, self._opened.device
        #: Why it is on the CPU although a GPU was to be expected, or nothing.
        self.notes = (self._opened.fallback_reason,) if self._opened.fallback_reason else ()
        self.contract = contract
        self.frame = _read_frame(path, self._opened, contract)

    def most_together(self, shape: tuple[int, ...]) -> int:
        """How many inputs of (3, rows, columns) one call takes: several small ones on a GPU, where the batch
        of the graph is free and the contract allows it."""
        if self.device == "cpu" or self.contract.batch == "one" or self._opened.input_shape[0] is not None:
            return 1
        return max(1, _FILLING_PIXELS // (shape[1] * shape[2]))

    def run(self, inputs: Sequence[Tensor]) -> Tensor:
        """(3, rows, columns) each, of one size -> probabilities (inputs, rows, columns). Thread-safe.
        Raises :class:`InferenceError` (the run failed, NaN) and :class:`ModelMismatch` (shape or range)."""
        batch = np.stack(inputs)
        raw = self._opened(batch)[0]
        expected = (len(batch), 1, *batch.shape[2:])
        if raw.shape != expected:
            raise ModelMismatch(f"matting network: expected an output of shape {expected}, got {raw.shape}")
        raw = np.asarray(raw[:, 0], np.float32)
        if not np.isfinite(raw).all():
            raise InferenceError("the matting network answered with NaN or Inf; try device cpu")
        low, high = float(raw.min()), float(raw.max())
        within = low >= -_RANGE_SLACK and high <= 1 + _RANGE_SLACK
        logits = self.contract.output == "logits"
        if within == logits:
            expected_range = "logits, which leave 0..1" if logits else "probabilities in 0..1"
            raise ModelMismatch(
                f"matting network: expected {expected_range}, got {low:.4g}..{high:.4g}; the contract says "
                f"output: {self.contract.output}, is it {'probability' if logits else 'logits'}?"
            )
        return expit(raw) if logits else raw


#: What is done to a mask with its subject before it is refined.
Step = Callable[[Image, CoarseMatte], CoarseMatte]


class OnnxMatter:
    """Matting by a network. ``preprocess`` of the settings says how it is fed; ``steps``: name, as among the
    seconds, -> what follows the network."""

    def __init__(
        self,
        network: OnnxNetwork,
        settings: RembgSettings,
        model: ModelUse,
        *,
        licence: str = "unknown",
        refiner: VitMatte | None = None,
        steps: Mapping[str, Step] = MappingProxyType({}),
    ) -> None:
        self._refiner = refiner
        self.model = model
        self.notes = network.notes
        self._steps = steps
        self._network = network
        self._settings = settings
        self._queue = BatchQueue(network.run, network.most_together)
        contract = {"name": network.contract.name, **network.contract.model_dump(mode="json")}
        self._facts = {"contract": contract, "licence": licence}

    def matte(self, image: Image) -> Matte:
        """Cut the subject out of ``image``; raises :class:`InferenceError`."""
        started = time.perf_counter()
        answer = self.answer(image)
        seconds = {"network": time.perf_counter() - started - answer.waited, "network_wait": answer.waited}
        coarse = self.coarse(image, answer)
        for name, step in self._steps.items():
            if not coarse.refusal:
                started = time.perf_counter()
                coarse = step(image, coarse)
                seconds[name] = time.perf_counter() - started
        matte = finish(image, coarse, self._settings, seconds, self._refiner)
        return replace(matte, reasons=(*matte.reasons, *self.notes))

    def answer(self, image: Image) -> Answer:
        """The network's raw probabilities. Threads take turns at the network, or share its batches."""
        contract, frame = self._network.contract, self._network.frame
        placement: Placement | None = None
        if self._settings.preprocess == "rembg":
            fed = rembg_input(image, contract, frame)
        else:
            fed, placement = author_input(image, contract, frame)
        raw, waited = self._queue(fed)
        if not self._settings.flips:
            return Answer(raw, waited, placement)
        mirrored, longer = self._queue(np.ascontiguousarray(fed[..., ::-1]))
        return Answer(raw, waited + longer, placement, mirrored[..., ::-1])

    def coarse(self, image: Image, answer: Answer) -> CoarseMatte:
        """The raw answer as an alpha of the picture's size, with its evidence.

        The evidence is the largest raw probability inside the picture: one below
        ``subject_minimum`` of the settings is "no subject", however the mask would look when stretched.
        """
        height, width = image.height, image.width
        mean = answer.mean
        inside = answer.inner(mean)
        note = "" if answer.placement is None else answer.placement.note
        if answer.placement is None:
            alpha = rembg_alpha(mean, height, width)
        else:
            alpha = np.clip(answer.placement.take(mean), 0.0, 1.0)
        evidence, minimum = float(inside.max()), self._settings.subject_minimum
        refusal = ""
        if evidence < minimum:
            refusal = f"network maximum {evidence:.4f}, at least {minimum:g} needed"
        elif alpha is None:
            refusal = f"the network answered {evidence:.4f} everywhere, no min-max exists"
        if alpha is None:
            alpha = np.zeros((height, width), np.float32)
        coarse = CoarseMatte(
            alpha=alpha,
            evidence=evidence,
            confidence=0.0 if refusal else _decisiveness(inside),
            refusal=refusal,
            reasons=(note,) if note else (),
            details={"raw_minimum": float(inside.min()), "raw_mean": float(inside.mean()), **self._facts},
        )
        if answer.flipped is None:
            return coarse
        agreement = agreement_of(answer.inner(answer.raw), answer.inner(answer.flipped), height, width)
        who = "the network's masks of the picture and of its mirror image"
        return judged(coarse, "flip", agreement, agreement.complaint(who, self._settings.agreement_minimum))


def _decisiveness(raw: Tensor) -> float:
    """Of all that is not clearly background (above 0.1), the share that is clearly subject (above 0.9)."""
    candidates = int(np.count_nonzero(raw > 0.1))
    return int(np.count_nonzero(raw > 0.9)) / candidates if candidates else 0.0


def _read_frame(path: Path, opened: OpenedOnnx, contract: Contract) -> Size | None:
    """(height, width) px of the graph's input, as the graph or the contract states it."""
    shape = opened.input_shape
    if len(shape) != 4 or shape[1] not in (3, None) or opened.input_dtype not in (np.float32, np.float16):
        raise ModelMismatch(
            f"{path.name}: expected a float32 or float16 input of shape (batch, 3, height, width), got "
            f"{opened.input_dtype} {shape}; a network that takes more than a picture cannot be rembg.model"
        )
    if shape[0] is not None and shape[0] > 1:
        raise ModelMismatch(
            f"{path.name}: expected batch 1 or a free batch, the graph says {shape[0]}; export it with one"
        )
    height, width = shape[2:]
    if contract.fit == "multiple":
        if height is not None or width is not None:
            raise ModelMismatch(
                f"{path.name}: expected a free height and width for fit multiple, the graph says {shape[2:]}"
            )
        return None
    if contract.size_px is None and (height is None or width is None):
        raise ModelMismatch(
            f"{path.name}: the graph leaves its size free; give size in its contract (rembg.contract, "
            "rembg.second_contract), px"
        )
    stated = contract.size_px or (height or 0, width or 0)
    if any(side not in (None, wanted) for side, wanted in zip((height, width), stated, strict=True)):
        raise ModelMismatch(
            f"{path.name}: the contract {contract.name} says {stated[1]}x{stated[0]} px, the graph says "
            f"{width}x{height}; give the contract of this file: its values with this size, or another name"
        )
    return stated
