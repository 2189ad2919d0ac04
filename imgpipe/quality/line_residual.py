"""Input of the line detector: the difference between an enlargement and a smooth one, away from edges."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from imgpipe.pixels.axis_filter import AxisFilter
from imgpipe.pixels.bilinear import enlarged_rows
from imgpipe.pixels.resize import cv2_resize, resize_array
from imgpipe.pixels.round_trip import Float, Shown
from imgpipe.quality.blocks import blocks

Bool = npt.NDArray[np.bool_]

#: Distance from a source edge within which the residual is not used, px of the result.
EDGE_MARGIN_PX = 4
#: Reach of Lanczos, source px.
LANCZOS_PX = 3
#: Central-difference luma gradient per source px above which a source pixel is an edge, 1/255.
EDGE_GRADIENT = 10.0


@dataclass(frozen=True, slots=True)
class Axis:
    """The source's luma and the result, so that the tested cuts run along rows; ``turned``: they run along
    the result's columns, and the planes of the source are transposed.

    ``lanczos``: the smooth enlargement is by Lanczos, and used out of its reach of source edges, where it
    rings and is clipped; else bilinear, which costs less.
    """

    source: Float
    result: Shown
    edges: Bool
    turned: bool = False
    lanczos: bool = False

    def transposed(self) -> Axis:
        return replace(self, source=self.source.T, edges=self.edges.T, turned=not self.turned)

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of the result, as it is turned."""
        height, width = self.result.shape
        return (width, height) if self.turned else (height, width)

    def result_rows(self, rows: slice) -> Float:
        if self.turned:
            return np.asarray(cv2.transpose(self.result.luma(slice(None), rows)), np.float32)
        return self.result.luma(rows)


def source_edges(reference: Float) -> Bool:
    """Edge pixels of the source by central differences, (height, width) bool."""
    edges = np.empty(reference.shape, np.bool_)
    for block in blocks(reference.shape, 1):
        gx, gy = (
            cv2.Sobel(
                reference[block.seen],
                cv2.CV_32F,
                *direction,
                ksize=1,
                scale=0.5,
                borderType=cv2.BORDER_REPLICATE,
            )[block.inner]
            for direction in ((1, 0), (0, 1))
        )
        edges[block.own] = cv2.magnitude(gx, gy) > EDGE_GRADIENT
    return edges


def residual_rows(axis: Axis, top: int, bottom: int) -> tuple[Float, Bool]:
    """(r, visible) for result rows top..bottom, the whole width: float32 and bool."""
    # Not in place: at a factor of 1 the smooth rows are the source's own.
    residual = np.subtract(axis.result_rows(slice(top, bottom)), _smooth_rows(axis, top, bottom))
    return residual, ~_near_edges(axis, top, bottom)


def _smooth_rows(axis: Axis, top: int, bottom: int) -> Float:
    """Rows of the source enlarged; bilinearly by a whole factor, OpenCV enlarges the rows around alone."""
    height, width = axis.shape
    rows = axis.source.shape[0]
    if axis.lanczos:
        down, part = AxisFilter(rows, height), slice(top, bottom)
        used = axis.source[down.needs(part)]
        across = resize_array(used[..., None], width, len(used), "lanczos")
        return np.asarray(np.clip(down.along_rows(across, part)[..., 0], 0, 255), np.float32)
    if height % rows:
        return enlarged_rows(axis.source, width, height, slice(top, bottom))
    factor = height // rows
    first, stop = max(0, top // factor - 1), min(rows, -(-bottom // factor) + 1)
    around = np.ascontiguousarray(axis.source[first:stop])
    enlarged = cv2_resize(around, (width, (stop - first) * factor), cv2.INTER_LINEAR)
    return enlarged[top - first * factor : bottom - first * factor]


def _near_edges(axis: Axis, top: int, bottom: int) -> Bool:
    """Result pixels within the margin of a source edge, rows top..bottom."""
    height, width = axis.shape
    rows, columns = axis.source.shape
    least = LANCZOS_PX if axis.lanczos else 0
    reach_y = max(least, math.ceil(EDGE_MARGIN_PX * rows / height))
    reach_x = max(least, math.ceil(EDGE_MARGIN_PX * columns / width))
    low = max(0, top * rows // height - reach_y)
    high = min(rows, -(-bottom * rows // height) + reach_y)
    kernel = np.ones((2 * reach_y + 1, 2 * reach_x + 1), np.uint8)
    grown = cv2.dilate(np.ascontiguousarray(axis.edges[low:high]).astype(np.uint8), kernel)
    across = np.arange(width) * columns // width
    down = np.arange(top, bottom) * rows // height - low
    near: Bool = np.take(np.take(grown, across, axis=1), down, axis=0).view(np.bool_)  # 0 or 1
    return near
