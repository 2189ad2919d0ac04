"""Model of the background, fitted to the picture's border.

The background's colour is modelled per Lab channel as a polynomial of position, which represents flat fills,
gradients of several stops along an axis and vignettes. The subject often touches the border too (a figure cut
off at the bottom), so the fit is robust: it starts from several choices of sides and keeps the one that
explains most of the border. Colours that this surface does not explain but that fill a corner of the picture
(such as a ground line) become further background colours.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Lab = npt.NDArray[np.float32]
Distance = npt.NDArray[np.float32]
Values = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

#: Least noise (CIE76) that is assumed even for a smooth background: quantisation, JPEG, dithering.
NOISE_FLOOR = 1.0

#: A border pixel farther than this from the surface is not explained by it.
EXPLAINED = 6.0

_STRIP_SHARE = 0.03
_STRIP_SAMPLES = 3000
#: How many terms of the polynomial each round of the fit uses.
_DEGREES = (1, 3, 3, 6, 6, 6, 10, 10, 10)
_EXTRA_COLOURS = 3
_CORNER_SHARE = 0.08


@dataclass(frozen=True, slots=True, eq=False)
class Border:
    """``coefficients``: (10, 3), the background's Lab over 1, x, y, x^2, xy, y^2, x^3, y^3, x^4, y^4 with x
    and y in -1..1. ``extra``: (n, 3) further background colours in Lab. ``noise``: robust standard deviation
    of the border around the model, in CIE76 units. ``explained``: share of the border that the model
    explains, 0..1."""

    coefficients: Values
    extra: Values
    noise: float
    explained: float

    def distance(self, lab: Lab, *, with_extra: bool = True) -> Distance:
        """CIE76 distance of each pixel of (height, width, 3) to the nearest background colour there;
        without the extra colours, to the surface alone."""
        height, width = lab.shape[:2]
        result = np.empty((height, width), np.float32)
        xs, ys = _axis(width), _axis(height)
        for row in range(height):  # row by row: no array of the picture's size for the surface
            surface = _terms(xs, np.full(width, ys[row])) @ self.coefficients
            nearest = np.sum((lab[row] - surface) ** 2, axis=1)
            for colour in self.extra if with_extra else ():
                np.minimum(nearest, np.sum((lab[row] - colour) ** 2, axis=1), out=nearest)
            result[row] = np.sqrt(nearest)
        return result


@dataclass(frozen=True, slots=True)
class Levels:
    """Distances (CIE76) to the background model: up to ``low`` a pixel is background, from ``high`` on it is
    not. ``decisive``: 0..1, weight of the distance in the decision; lower for a noisy border."""

    low: float
    high: float
    decisive: float

    @classmethod
    def of(cls, border: Border) -> Levels:
        low = max(2.5, 3.0 * border.noise)
        high = low + max(6.0, 3.0 * border.noise)
        return cls(low, high, float(np.clip((8.0 - border.noise) / 4.0, 0.0, 1.0)))


def fit_border(lab: Lab) -> Border:
    """The background model of a float32 (height, width, 3) CIE Lab picture, L 0..100."""
    samples = _Samples.take(lab)
    best, most = samples.fit(np.ones(samples.side.size, bool)), -1.0
    for sides in ((0, 1, 2, 3), (0, 1, 2), (0, 1, 3), (0, 2, 3), (1, 2, 3), (0,), (1, 2)):
        coefficients = samples.fit(np.isin(samples.side, sides))
        share = float(np.mean(samples.residual(coefficients) < EXPLAINED))
        if share > most + 0.01:
            best, most = coefficients, share
    residual = samples.residual(best)
    extra = _extra_colours(samples, residual)
    for colour in extra:
        residual = np.minimum(residual, np.linalg.norm(samples.colour - colour, axis=1))
    inside = residual[residual < EXPLAINED * 2]
    noise = 1.4826 * float(np.median(inside)) if inside.size else EXPLAINED * 2
    return Border(best, extra, max(noise, NOISE_FLOOR), float(np.mean(residual < EXPLAINED)))


def to_lab(colour: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]) -> Lab:
    """sRGB uint8 or uint16 (height, width, 3) -> CIE Lab (D65) float32."""
    scaled = colour.astype(np.float32) / np.float32(np.iinfo(colour.dtype).max)
    return np.asarray(cv2.cvtColor(scaled, cv2.COLOR_RGB2Lab), np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class _Samples:
    """Border pixels. ``side``: 0 top, 1 left, 2 right, 3 bottom. ``corner``: 0 none, 1..4."""

    colour: Values
    terms: Values
    side: npt.NDArray[np.int64]
    corner: npt.NDArray[np.int64]

    @classmethod
    def take(cls, lab: Lab) -> _Samples:
        height, width = lab.shape[:2]
        strip = max(1, min(round(_STRIP_SHARE * min(height, width)), min(height, width)))
        rows, columns = np.mgrid[0:height, 0:width]
        to_edge = np.stack([rows, columns, width - 1 - columns, height - 1 - rows])
        side = np.argmin(to_edge, axis=0)
        chosen = np.flatnonzero(to_edge.min(axis=0) < strip)
        chosen = chosen[:: max(1, chosen.size // _STRIP_SAMPLES)]
        row, column = chosen // width, chosen % width
        x, y = _axis(width)[column], _axis(height)[row]
        near = 1.0 - 2 * _CORNER_SHARE
        corner = np.where((np.abs(x) > near) & (np.abs(y) > near), 1 + (x > 0) + 2 * (y > 0), 0)
        colour = lab.reshape(-1, 3)[chosen].astype(np.float64)
        return cls(colour, _terms(x, y), side.reshape(-1)[chosen], corner)

    def fit(self, chosen: Flags) -> Values:
        """Least squares, repeated on what the last fit explains, from flat to quartic."""
        if not chosen.any():
            chosen = np.ones(chosen.size, bool)
        colour, terms = self.colour[chosen], self.terms[chosen]
        coefficients = np.zeros((_DEGREES[-1], 3))
        coefficients[0] = np.median(colour, axis=0)
        for step in range(len(_DEGREES)):
            degree = _DEGREES[step]
            distance = np.linalg.norm(colour - terms @ coefficients, axis=1)
            reach = max(2.5 * 1.4826 * float(np.median(distance)), NOISE_FLOOR)
            inside = distance <= reach
            if np.count_nonzero(inside) < 4 * degree:
                break
            ridge = 1e-6 * np.count_nonzero(inside) * np.eye(degree)
            basis = terms[inside, :degree]
            solution = np.linalg.solve(basis.T @ basis + ridge, basis.T @ colour[inside])
            coefficients = np.zeros((_DEGREES[-1], 3))
            coefficients[:degree] = solution
        return coefficients

    def residual(self, coefficients: Values) -> Values:
        return np.asarray(np.linalg.norm(self.colour - self.terms @ coefficients, axis=1))


def _extra_colours(samples: _Samples, residual: Values) -> Values:
    left = residual >= EXPLAINED
    colours: list[Values] = []
    for corner in range(1, 5):
        here = samples.corner == corner
        if np.count_nonzero(here & left) * 2 <= np.count_nonzero(here):
            continue
        colour = np.median(samples.colour[here & left], axis=0)
        if all(np.linalg.norm(colour - other) >= EXPLAINED for other in colours):
            colours.append(colour)
    return np.array(colours[:_EXTRA_COLOURS]).reshape(-1, 3)


def _axis(length: int) -> Values:
    return np.linspace(-1.0, 1.0, length) if length > 1 else np.zeros(1)


def _terms(x: Values, y: Values) -> Values:
    powers = [np.ones_like(x), x, y, x * x, x * y, y * y, x**3, y**3, x**4, y**4]
    return np.stack(powers, axis=-1)
