"""The result types of matting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from imgpipe.images.image import Image
from imgpipe.records import ModelUse, Status

Alpha = npt.NDArray[np.float32]

#: The first reason of every matte without a subject, whatever the backend: what reports count and filter by.
NO_SUBJECT = "no subject found"


@dataclass(frozen=True, slots=True, eq=False)
class Matte:
    """One picture's cutout, its alpha and the facts about them.

    ``image``: the cutout: LA for a grey source, RGBA for a coloured one, the source's bit depth, straight
    alpha, the source's ICC, EXIF and XMP. Where its alpha is full, its colours are the source's own, bit by
    bit; where it is partial, they are the estimated foreground, without the background's colour; where it
    is zero, they are zero.
    ``alpha``: float32 (height, width), 0..1, what the cutout's alpha was rounded from; the source's own
    alpha is already multiplied in.
    ``status``: ``REJECTED`` where no subject was found (alpha is then 0 everywhere, the first reason is
    :data:`NO_SUBJECT` and ``details["subject"]`` is ``none`` instead of ``found``) or where the backend does
    not trust its result; ``reasons`` say why in words, with ``OK`` they are warnings.
    ``metrics``: ``subject_found`` (1 or 0), ``subject_evidence`` (the network's largest raw probability,
    0..1; without a network the largest alpha of its mask), ``confidence`` (0..1),
    ``foreground_share`` (mean alpha), ``soft_share`` and ``opaque_share`` (parts of the picture).
    ``details``: JSON-able facts about how the alpha was made. ``seconds``: time per step.
    """

    image: Image
    alpha: Alpha
    status: Status = Status.OK
    reasons: tuple[str, ...] = ()
    metrics: dict[str, float] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class CoarseMatte:
    """A backend's coarse alpha, before the border is refined.

    ``alpha``: float32 (height, width) 0..1. ``refusal``: the evidence that there is no subject; empty where
    there is one. ``distrust``: why the cutout is made but not trusted; empty where it is. ``final``: the
    alpha is exact already, as a source's own is, and must not be refined. ``metrics``: the backend's own.
    """

    alpha: Alpha
    evidence: float
    confidence: float
    refusal: str = ""
    distrust: str = ""
    final: bool = False
    reasons: tuple[str, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)


class Matter(Protocol):
    """A matting backend with its model loaded; safe to call from several threads."""

    @property
    def model(self) -> ModelUse:
        """The model that makes the mattes."""

    def matte(self, image: Image) -> Matte:
        """Cut the subject out of ``image``; raises :class:`InferenceError` where the network fails."""
