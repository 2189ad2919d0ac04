"""What every upscaler takes and gives, and how large its result is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from imgpipe.errors import LimitExceeded, OutOfMemory
from imgpipe.images.image import Image
from imgpipe.records import ModelUse, TileGrid
from imgpipe.settings import LimitSettings, UpscaleSettings


@dataclass(frozen=True, slots=True, eq=False)
class Upscaled:
    """One enlarged picture and how it came about.

    ``image``: the source's channels, bit depth, profile and metadata at the new size; its XMP also names the
    model. ``tile_grid``: interior cuts in source px. ``metrics``: numbers for the row's columns.
    ``details``: facts for its JSON (tile, halo, retries). ``seconds``: time by step. ``reasons``: warnings in
    words.
    """

    image: Image
    tile_grid: TileGrid
    model: ModelUse
    metrics: Mapping[str, float] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()


class Upscaler(Protocol):
    """Enlarges pictures to one fixed rule; safe to call from several threads."""

    @property
    def model(self) -> ModelUse:
        """What does the enlarging."""

    @property
    def network_scale(self) -> int:
        """The factor of its network, whatever the result's; 0 without one."""

    def native_bytes(self, width: int, height: int) -> int:
        """What is in memory at once of a network's own enlargement of ``width`` x ``height`` px; else 0."""

    def upscale(self, image: Image, size: tuple[int, int] | None = None) -> Upscaled:
        """Enlarge one picture, by the rule or to ``size`` (width, height) px.

        Raises :class:`imgpipe.errors.ImageError` or ``InferenceError``.
        """


@dataclass(frozen=True, slots=True)
class TargetSize:
    """How large a result is: a factor, a box that it fits into, or a least size. Sides are px.

    ``target_size``: the largest picture of the source's aspect within (width, height); ``scale`` then has no
    say. ``min_dimensions``: ``scale``, or more where a side would stay below (width, height). ``exact``: the
    size itself, of one picture whose enlargement was planned by somebody else.
    """

    scale: float
    target_size: tuple[int, int] | None = None
    min_dimensions: tuple[int, int] | None = None
    exact: tuple[int, int] | None = None

    @classmethod
    def of(cls, settings: UpscaleSettings) -> TargetSize:
        return cls(settings.scale, settings.target_size, settings.min_dimensions)

    def factor(self, width: int, height: int) -> float:
        """Result size / source size, before sides are rounded."""
        if self.exact is not None:
            return self.exact[0] / width
        if self.target_size is not None:
            return min(self.target_size[0] / width, self.target_size[1] / height)
        if self.min_dimensions is not None:
            return max(self.scale, self.min_dimensions[0] / width, self.min_dimensions[1] / height)
        return self.scale

    def size(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) of the result: each side times the factor, rounded half up, at least 1 px."""
        if self.exact is not None:
            return self.exact
        factor = self.factor(width, height)
        # 0.1 + 0.2 and its like must not turn a side that is exactly asked for into one less.
        return max(1, int(width * factor + 0.5 + 1e-9)), max(1, int(height * factor + 0.5 + 1e-9))

    @contextmanager
    def within(self, limits: LimitSettings | None, width: int, height: int) -> Iterator[None]:
        """Raise :class:`LimitExceeded` at once where the result would be above ``limits.max_output_pixels``,
        and ``OutOfMemory`` where the host's memory is too small for it."""
        new_width, new_height = self.size(width, height)
        if limits is not None and new_width * new_height > limits.max_output_pixels:
            raise LimitExceeded(
                f"{width} x {height} px at {self} would be {new_width} x {new_height} = "
                f"{new_width * new_height:,} px, expected at most limits.max_output_pixels="
                f"{limits.max_output_pixels:,}; lower {self.setting} or raise the limit"
            )
        try:
            yield
        except MemoryError as exc:
            raise OutOfMemory(
                f"{width} x {height} px at {self} do not fit into the host's memory; lower {self.setting} or "
                "run fewer workers"
            ) from exc

    @property
    def setting(self) -> str:
        """The key that decides."""
        if self.exact is not None:
            return "enhance.scale_factor"
        if self.target_size is not None:
            return "upscale.target_size"
        return "upscale.scale" if self.min_dimensions is None else "upscale.min_dimensions"

    def __str__(self) -> str:
        value = self.exact or self.target_size or self.min_dimensions
        return f"{self.setting}=" + (f"{self.scale:g}" if value is None else f"{value[0]}x{value[1]}")
