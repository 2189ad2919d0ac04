"""How a matting network is fed and what it answers.

Sources: isnet-anime: github.com/SkyTNT/anime-segmentation ``inference.py`` and deepghs/imgutils
``segment/isnetis.py``; isnet: github.com/xuebinqin/DIS ``Inference.py``; u2net: github.com/xuebinqin/U-2-Net
``data_loader.py`` (``ToTensorLab``); birefnet: github.com/ZhengPeng7/BiRefNet ``tutorials``; ben2:
``onnx_run.py`` beside the published file; modnet: github.com/ZHKKKe/MODNet ``onnx/inference_onnx.py``; rmbg:
the model card of RMBG-2.0, and rembg, which takes its answer as a probability.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema, model_validator

from imgpipe.errors import ConfigError
from imgpipe.settings.section import Section, suggest

Triple = tuple[float, float, float]
Positive = Annotated[float, Field(gt=0)]
Px = Annotated[int, Field(ge=16, le=8192)]

IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)
HALF: Triple = (0.5, 0.5, 0.5)
ONE: Triple = (1.0, 1.0, 1.0)
_NONE: Triple = (0.0, 0.0, 0.0)


class Contract(Section):
    """From RGB in 0..1 to a network's input, ``(value / scale - mean) / std`` per channel, and from its
    answer (batch, 1, height, width) to the probability of the subject."""

    fit: Literal["letterbox", "squash", "multiple"] = Field(
        description="`letterbox` keeps the aspect ratio and pads with zeros before normalisation, `squash` "
        "resizes both axes, `multiple` brings the shorter side to `size` and both to multiples of "
        "`multiple`, the longer one to 4096 px at most."
    )
    mean: Triple = Field(description="What is subtracted, per channel in RGB order.")
    std: tuple[Positive, Positive, Positive] = Field(
        description="What is divided by, per channel in RGB order."
    )
    output: Literal["probability", "logits"] = Field(
        description="Whether the sigmoid is part of the graph (`probability`) or not (`logits`)."
    )
    size: Px | tuple[Px, Px] | None = Field(
        None, description="Side of the square or [width, height], px; null = as the graph fixes it."
    )
    multiple: int = Field(
        32, ge=1, le=1024, description="Of `fit: multiple`: sides are multiples of this, px."
    )
    scale: Literal["full_scale", "maximum"] = Field(
        "full_scale", description="`maximum` divides by the resized picture's own largest value first."
    )
    order: Literal["RGB", "BGR"] = Field("RGB", description="Order of the colours in the input.")
    which_output: int | str | None = Field(
        None, description="Number (from 0) or name of the graph's output; null = it has one only."
    )
    batch: Literal["graph", "one"] = Field(
        "graph",
        description="`graph`: several pictures in one call where the graph's batch is free; `one`: never.",
    )

    @property
    def name(self) -> str:
        """The name of these values in :data:`CONTRACTS`, else ``own``."""
        return next((name for name, known in CONTRACTS.items() if known == self), "own")

    @property
    def size_px(self) -> tuple[int, int] | None:
        """(height, width) in px where the contract states it."""
        if isinstance(self.size, int):
            return self.size, self.size
        return None if self.size is None else (self.size[1], self.size[0])

    @model_validator(mode="after")
    def _shorter_side(self) -> Self:
        if self.fit == "multiple" and not isinstance(self.size, int):
            raise ValueError("fit multiple needs size: the shorter side in px, as in 512")
        return self


def _square(mean: Triple, std: Triple, size: int, **others: Any) -> Contract:
    values = {"fit": "squash", "output": "probability", "which_output": 0, **others}
    return Contract(mean=mean, std=std, size=size, **values)


#: The contract of each family of published networks. Of several outputs the first is the final one.
CONTRACTS: Mapping[str, Contract] = MappingProxyType(
    {
        "isnet-anime": _square(_NONE, ONE, 1024, fit="letterbox"),
        "isnet": _square(HALF, ONE, 1024),
        "u2net": _square(IMAGENET_MEAN, IMAGENET_STD, 320, scale="maximum"),
        "birefnet": _square(IMAGENET_MEAN, IMAGENET_STD, 1024, output="logits"),
        "ben2": _square(_NONE, ONE, 1024, batch="one"),
        "modnet": _square(HALF, HALF, 512, fit="multiple"),
        "rmbg": _square(IMAGENET_MEAN, IMAGENET_STD, 1024),
    }
)


def named_contract(value: object) -> object:
    """A name as its contract, anything else as it is; raises ``ValueError`` for an unknown name."""
    if not isinstance(value, str):
        return value
    if value not in CONTRACTS:
        raise ValueError(f"no contract has this name; {suggest(value, CONTRACTS)}, or the values themselves")
    return CONTRACTS[value]


#: A setting: a contract by name or as values; written as its name where it has one.
GivenContract = Annotated[
    Contract | None,
    BeforeValidator(named_contract),
    PlainSerializer(lambda one: one.name if one and one.name in CONTRACTS else one),
    WithJsonSchema({"anyOf": [{"enum": [*CONTRACTS]}, {"type": "mapping"}, {"type": "null"}]}),
]

#: Contract -> mean and std of rembg's session (2.0.86); it squashes every picture and divides by its maximum.
_REMBG: Mapping[str, tuple[Triple, Triple]] = {
    "isnet-anime": (IMAGENET_MEAN, ONE),
    "isnet": (HALF, ONE),
    "u2net": (IMAGENET_MEAN, IMAGENET_STD),
    "birefnet": (IMAGENET_MEAN, IMAGENET_STD),
    "ben2": (HALF, ONE),
    "rmbg": (IMAGENET_MEAN, IMAGENET_STD),
}


def rembg_statistics(contract: Contract) -> tuple[Triple, Triple]:
    """Mean and std of rembg's session; raises :class:`ConfigError` where it has none of this contract."""
    if contract.name not in _REMBG:
        raise ConfigError(
            f"rembg.preprocess=rembg: expected a contract that rembg has a session of ({', '.join(_REMBG)}), "
            f"got {contract.name}; set rembg.preprocess to author"
        )
    return _REMBG[contract.name]
