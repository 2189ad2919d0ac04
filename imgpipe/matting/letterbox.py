"""Fits a picture of any shape into a network's input, and crops the output to it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import cv2
import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float32]

#: Above this reduction bilinear interpolation skips source pixels and area averaging is taken.
_BILINEAR_REACH = 2.0

#: The longer side of an input that follows from its picture: its cost does not grow without end.
LONGEST_PX = 4096

Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a (height, width) picture lies inside a network's input, all in px.

    ``frame``: the input's (height, width); ``top``, ``left``: first row and column of the resized picture;
    ``inner_height``, ``inner_width``: its size there. ``note``: what the row should say of it, if anything.
    """

    height: int
    width: int
    frame: Size
    top: int
    left: int
    inner_height: int
    inner_width: int
    note: str = ""

    @classmethod
    def letterbox(cls, height: int, width: int, frame: Size) -> Self:
        """One side fills the frame, the other keeps the ratio (cut down to whole px, at least 1) and is
        centred, as anime-segmentation's ``get_mask`` does."""
        if height * frame[1] > width * frame[0]:
            inner_height, inner_width = frame[0], max(1, frame[0] * width // height)
        else:
            inner_height, inner_width = max(1, frame[1] * height // width), frame[1]
        top, left = (frame[0] - inner_height) // 2, (frame[1] - inner_width) // 2
        return cls(height, width, frame, top, left, inner_height, inner_width)

    @classmethod
    def squash(cls, height: int, width: int, frame: Size) -> Self:
        """Both sides fill the frame."""
        return cls(height, width, frame, 0, 0, *frame)

    @classmethod
    def multiples(cls, height: int, width: int, shorter: int, multiple: int) -> Self:
        """The shorter side at ``shorter`` px, unless it is smaller and the longer one is not, both cut down
        to a multiple (at least one), as MODNet's ``get_scale_factor`` does; both sides are smaller, with a
        note, where the longer one would be above :data:`LONGEST_PX`."""
        sides = np.array([height, width])
        if sides.max() < shorter or sides.min() > shorter:
            sides = sides * shorter // sides.min()
        longest, note = int(sides.max()), ""
        if longest > LONGEST_PX:
            sides = sides * LONGEST_PX // longest
            note = f"the network's input would be {longest} px long: reduced to {LONGEST_PX} px"
        rows, columns = (int(side) for side in np.maximum(sides // multiple, 1) * multiple)
        return replace(cls.squash(height, width, (rows, columns)), note=note)

    def put(self, picture: Float) -> Float:
        """(height, width, channels) -> (*frame, channels), zero outside the picture."""
        square = np.zeros((*self.frame, picture.shape[2]), np.float32)
        inner = resize(picture, self.inner_height, self.inner_width)
        square[self._rows, self._columns] = inner.reshape(self.inner_height, self.inner_width, -1)
        return square

    def take(self, answer: Float) -> Float:
        """(*frame) -> (height, width): the picture's part, resized back."""
        return resize(np.ascontiguousarray(self.inner(answer)), self.height, self.width)

    def inner(self, answer: Float) -> Float:
        """(*frame) -> (inner_height, inner_width): the picture's part at the network's resolution."""
        return answer[self._rows, self._columns]

    @property
    def _rows(self) -> slice:
        return slice(self.top, self.top + self.inner_height)

    @property
    def _columns(self) -> slice:
        return slice(self.left, self.left + self.inner_width)


def resize(values: Float, height: int, width: int) -> Float:
    """Bilinear with pixel centres aligned; by area where it shrinks more than twofold along an axis."""
    if values.shape[:2] == (height, width):
        return values
    shrinks = max(values.shape[0] / height, values.shape[1] / width)
    method = cv2.INTER_AREA if shrinks > _BILINEAR_REACH else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(values, (width, height), interpolation=method), np.float32)
