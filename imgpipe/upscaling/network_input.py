"""A picture as a network is given it, computed when it is read, so that it is never whole in float."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from imgpipe.images.colour import three_channels
from imgpipe.images.image import Image
from imgpipe.pixels.pull_push import Field, pull_push

Floats = npt.NDArray[np.float32]

#: From this alpha on a pixel's own colour is used; below it, it is mixed with the colours around.
_TRUSTED_ALPHA = 0.125


class NetworkInput(Protocol):
    """(h, w, 3) float32 RGB in 0..1."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(h, w, 3)."""

    def __getitem__(self, part: tuple[slice, slice], /) -> Floats:
        """Rows and columns."""

    def alpha(self, rows: slice) -> Floats | None:
        """(rows, w) in 0..1: how much a pixel's colour counts; ``None`` where all count alike."""


class ColourInput:
    """The colours of ``image``, the subject's extended beyond its silhouette.

    Under transparency a file holds black, white or any other colour; a network would draw an edge towards it
    and ring, which is the halo seen around enlarged cutouts. Filled by :func:`imgpipe.pixels.pull_push`. A
    picture without any visible pixel is black.
    """

    def __init__(self, image: Image) -> None:
        self._image = image
        self._full = np.float32(image.max_value)
        self.shape = (image.height, image.width, 3)
        self._around: Field | None = None
        lowest = np.inf if image.alpha is None else float(image.alpha.min()) / image.max_value
        if lowest < _TRUSTED_ALPHA:
            whole = slice(0, image.width)
            self._around = pull_push(
                lambda rows: (self._own(rows, whole), self._trust(rows, whole)), image.height, image.width
            )

    def __getitem__(self, part: tuple[slice, slice]) -> Floats:
        rows, columns = (slice(*span.indices(side)[:2]) for span, side in zip(part, self.shape, strict=False))
        own = self._own(rows, columns)
        if self._around is None:
            return own
        known = self._trust(rows, columns)[..., None]
        return np.asarray(own * known + self._around.part(rows, columns) * (1 - known), np.float32)

    def alpha(self, rows: slice) -> Floats | None:
        """See :class:`NetworkInput`."""
        if self._image.alpha is None:
            return None
        return np.asarray(self._image.alpha[rows].astype(np.float32) / self._full)

    def _own(self, rows: slice, columns: slice) -> Floats:
        return three_channels(self._image.colour[rows, columns].astype(np.float32) / self._full)

    def _trust(self, rows: slice, columns: slice) -> Floats:
        alpha = self._image.pixels[rows, columns, -1].astype(np.float32) / self._full
        trust: Floats = np.minimum(alpha / _TRUSTED_ALPHA, 1.0).astype(np.float32)
        return trust


class GreyInput:
    """A plane (h, w) of full range as three equal channels."""

    def __init__(self, plane: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]) -> None:
        self._plane = plane
        self._full = np.float32(np.iinfo(plane.dtype).max)
        self.shape = (*plane.shape, 3)

    def __getitem__(self, part: tuple[slice, slice]) -> Floats:
        values = self._plane[part].astype(np.float32) / self._full
        grey: Floats = np.repeat(values[..., None], 3, axis=2)
        return grey

    def alpha(self, rows: slice) -> None:
        """See :class:`NetworkInput`."""
