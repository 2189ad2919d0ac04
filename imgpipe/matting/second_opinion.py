"""The mask of a second network as a check of the first one's."""

from __future__ import annotations

from dataclasses import replace

from imgpipe.images.image import Image
from imgpipe.matting.agreement import agreement_of, judged
from imgpipe.matting.matte import CoarseMatte
from imgpipe.matting.onnx_model import OnnxMatter


class SecondOpinion:
    """The mask of a second network beside that of the first; nothing of it is mixed in."""

    def __init__(self, matter: OnnxMatter, first: str, minimum: float) -> None:
        self._matter, self._first, self._minimum = matter, first, minimum

    def __call__(self, image: Image, coarse: CoarseMatte) -> CoarseMatte:
        """``coarse``, not trusted where the second network's mask overlaps it by less than the minimum."""
        other = self._matter.coarse(image, self._matter.answer(image))
        agreement = agreement_of(coarse.alpha, other.alpha, image.height, image.width)
        model = self._matter.model
        complaint = agreement.complaint(f"the masks of {self._first} and {model.name}", self._minimum)
        if complaint and other.refusal:
            complaint += f" ({model.name} finds no subject: {other.refusal})"
        facts = {**model.as_dict(), **other.details, "subject_evidence": other.evidence}
        judged_matte = judged(coarse, "second", agreement, complaint, facts)
        return replace(judged_matte, reasons=(*judged_matte.reasons, *self._matter.notes))
