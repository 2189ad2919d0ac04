"""Input and output format of each matting network.

``author`` is the preprocessing of the network's authors; ``rembg`` that of the rembg package (2.0.86), which
squashes every picture to the network's square, divides by the picture's own maximum and stretches the
answer to its own minimum and maximum.

Sources: isnet-anime: github.com/SkyTNT/anime-segmentation ``inference.py`` and deepghs/imgutils
``segment/isnetis.py``; u2net: github.com/xuebinqin/U-2-Net ``data_loader.py`` (``ToTensorLab``);
isnet-general-use: github.com/xuebinqin/DIS ``Inference.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Triple = tuple[float, float, float]

IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)
_NONE: Triple = (0.0, 0.0, 0.0)
_ONE: Triple = (1.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True)
class InputSpec:
    """From RGB in 0..1 to a network's input: ``(value / divisor - mean) / std`` per channel.

    ``fit``: ``letterbox`` keeps the aspect ratio and pads with zeros before normalisation, ``squash``
    resizes both axes to the square. ``divisor``: ``full_scale`` = 1 for values in 0..1, ``maximum`` = the
    resized picture's own largest value.
    """

    fit: Literal["letterbox", "squash"]
    divisor: Literal["full_scale", "maximum"]
    mean: Triple
    std: Triple


@dataclass(frozen=True, slots=True)
class MattingModel:
    """One network: float32 input (batch, 3, size, size) RGB, first output (batch, 1, size, size), the
    probability of the subject in 0..1 (the sigmoid is part of the graph).

    ``size``: 0 = read from the graph. ``rembg_clips``: rembg clips this model's stretched mask to 0..1.
    """

    name: str
    size: int
    author: InputSpec
    rembg: InputSpec
    rembg_clips: bool = False


#: The isnet contract, also taken for a file that is in no registry; its size is read from the graph.
CUSTOM = MattingModel(
    name="custom",
    size=0,
    author=InputSpec("letterbox", "full_scale", _NONE, _ONE),
    rembg=InputSpec("squash", "maximum", IMAGENET_MEAN, _ONE),
)

_ALL = (
    MattingModel(name="isnet-anime", size=1024, author=CUSTOM.author, rembg=CUSTOM.rembg),
    MattingModel(
        name="u2net",
        size=320,
        author=InputSpec("squash", "maximum", IMAGENET_MEAN, IMAGENET_STD),
        rembg=InputSpec("squash", "maximum", IMAGENET_MEAN, IMAGENET_STD),
        rembg_clips=True,
    ),
    MattingModel(
        name="isnet-general-use",
        size=1024,
        author=InputSpec("squash", "full_scale", (0.5, 0.5, 0.5), _ONE),
        rembg=InputSpec("squash", "maximum", (0.5, 0.5, 0.5), _ONE),
    ),
)

#: Every network whose contract is known, by its registered name.
MODELS: Mapping[str, MattingModel] = MappingProxyType({model.name: model for model in _ALL})


def contract_for(name: str) -> MattingModel:
    """The contract of a registered name; any other file is taken as :data:`CUSTOM`."""
    return MODELS.get(name, CUSTOM)
