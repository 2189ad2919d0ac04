"""What a stage is: a pure function from images to images, knowing neither Dagster nor storage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from imgpipe.images.image import Image
from imgpipe.records import ImageRow, ModelUse, Status


@dataclass(frozen=True, slots=True)
class StageResult:
    """What a stage made of one image.

    ``outputs``: kind -> picture (encoded by the engine) or finished bytes. The first kind is the
    stage's main output, the one that the row and the next stage refer to.
    ``reasons``: why the status is what it is, in words; with ``status=ok`` they are warnings.
    ``main_format``: what the main output is written as, PNG where that cannot hold the picture; of finished
    bytes, the format that they have. ``main_image``: what finished bytes hold.
    """

    outputs: Mapping[str, Image | bytes] = field(default_factory=dict)
    status: Status = Status.OK
    reasons: tuple[str, ...] = ()
    model: ModelUse | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    main_image: Image | None = None
    main_format: str = "PNG"


@dataclass(frozen=True, slots=True)
class PictureSize:
    """``width``, ``height``: px. ``bit_depth``: 8 or 16 bits of each channel as decoded. ``converted``: its
    colours may be those of another space than sRGB."""

    width: int
    height: int
    bit_depth: int = 8
    converted: bool = False

    @property
    def pixels(self) -> int:
        return self.width * self.height

    @property
    def bytes(self) -> int:
        """Of the decoded picture with four channels."""
        return self.pixels * 4 * self.bit_depth // 8

    @property
    def srgb_view_bytes(self) -> int:
        """Of what a network is given instead, in 16 bits."""
        return 8 * self.pixels if self.converted else 0

    @property
    def fed_depth(self) -> int:
        """Bits of each channel that a network is given."""
        return 16 if self.converted else self.bit_depth


#: Beside what grows with the picture: strips, workspaces of threads, the encoder's blocks.
FIXED_BYTES = 2**28
#: What the encoders of other formats than PNG take at most, their file included.
_ENCODER_BYTES_PER_PIXEL = 32


def encoder_bytes(format: str, pixels: int) -> int:  # noqa: A002 -- as encode calls it
    """What writing a picture takes beside twice its pixels; PNG is written strip by strip."""
    return 0 if format == "PNG" else _ENCODER_BYTES_PER_PIXEL * pixels


class Stage(Protocol):
    """A recipe with its settings; a model is loaded when the first image needs it, once per process.

    Built from the settings that its row in the catalogue names, as keyword arguments.
    """

    @property
    def fingerprint(self) -> str:
        """Hash of settings, model digest and code version; equal fingerprints make equal results.

        Known without loading a network, so that asking what there is to do stays cheap.
        """

    @property
    def concurrency(self) -> int:
        """How many images it may compute at once (1 where a network uses all cores itself)."""

    def run(self, inputs: Mapping[str, Image], rows: Mapping[str, ImageRow]) -> StageResult:
        """Compute one image. ``inputs``: role -> picture; ``rows``: asset -> this image's row there."""


@runtime_checkable
class LoadableStage(Stage, Protocol):
    """A stage whose model can be loaded ahead of the first image."""

    def load(self) -> object:
        """The model, built once; raises :class:`ModelError` where it cannot be used."""


@runtime_checkable
class MeasuredStage(Stage, Protocol):
    """A stage that knows how much memory an image takes."""

    def needed_bytes(self, inputs: Mapping[str, PictureSize]) -> int:
        """Most memory for computing and encoding one image, beyond its files and decoded inputs, bytes.

        ``inputs``: role -> size; the same roles as :meth:`run` gets, fewer where a header cannot be read.
        """
