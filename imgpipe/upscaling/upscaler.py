"""What every upscaler takes and gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from imgpipe.errors import LimitExceeded
from imgpipe.images.image import Image
from imgpipe.records import ModelUse, TileGrid
from imgpipe.settings import LimitSettings


@dataclass(frozen=True, slots=True, eq=False)
class Upscaled:
    """One enlarged picture and how it came about.

    ``image``: the source's channels, bit depth, profile and metadata at the new size. ``tile_grid``:
    interior cuts in source px. ``metrics``: numbers for the row's columns. ``details``: facts for its JSON
    (tile, halo, retries). ``seconds``: time by step. ``reasons``: warnings in words.
    """

    image: Image
    tile_grid: TileGrid
    model: ModelUse
    metrics: Mapping[str, float] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()


class Upscaler(Protocol):
    """Enlarges pictures by one fixed factor; safe to call from several threads."""

    @property
    def model(self) -> ModelUse:
        """What does the enlarging."""

    def upscale(self, image: Image) -> Upscaled:
        """Enlarge one picture; raises :class:`imgpipe.errors.ImageError` or ``InferenceError``."""


def target_size(width: int, height: int, scale: float) -> tuple[int, int]:
    """(width, height) of the result: each side times ``scale``, rounded half up, at least 1 px."""
    return max(1, int(width * scale + 0.5)), max(1, int(height * scale + 0.5))


def check_output(width: int, height: int, scale: float, limits: LimitSettings | None) -> None:
    """Raise :class:`LimitExceeded` where the result would be larger than ``limits.max_output_pixels``."""
    if limits is None:
        return
    new_width, new_height = target_size(width, height, scale)
    if new_width * new_height > limits.max_output_pixels:
        raise LimitExceeded(
            f"{width} x {height} px at upscale.scale={scale:g} would be {new_width} x {new_height} = "
            f"{new_width * new_height:,} px, expected at most limits.max_output_pixels="
            f"{limits.max_output_pixels:,}; lower upscale.scale or raise the limit"
        )
