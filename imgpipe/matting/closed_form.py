"""Closed-form matting solved on the unknown pixels alone (Levin, Lischinski, Weiss 2008).

In a 3x3 window alpha is taken as a linear function of colour. Eliminating that function's coefficients
leaves a quadratic energy ``alpha' L alpha``, where the window with colours ``c_i``, mean ``m`` and covariance
``C`` adds

    L_ij += delta_ij - (1 + (c_i - m)' (C + eps/9 I)^-1 (c_j - m)) / 9

Known pixels are boundary conditions: with ``U`` unknown and ``K`` known, ``L_UU x_U = -L_UK x_K``. So only
windows that touch an unknown pixel are used, and cost and memory grow with the unknown band and not with
the picture. Bands that share no window are independent systems and are solved one after the other.

A first guess ``p`` can be given weight: a term ``w (2 p_i - 1)^8 (x_i - p_i)^2`` per unknown pixel. The
Laplacian has soft modes, whole regions that hardly touch another of their colour, whose value it hardly
determines; there, and where the picture's noise would determine it, the network's mask is more reliable. The
eighth power gives weight only to mask values near 0 or 1: the mask's blurred edge does not locate the edge.

pymatting's solver solves the same equations. It inverts the covariance through its determinant, which in a
flat or two-coloured window is lost to rounding (relative error of order 1), so that on flat-coloured drawings
its alpha can be off by all of 0..1; with a larger epsilon, or on noisy pictures, both agree.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from imgpipe.errors import ConfigError
from imgpipe.images.image import Pixels
from imgpipe.inference.admitted_memory import need_extra
from imgpipe.matting.band_memory import assumed_band_bytes, band_bytes
from imgpipe.matting.laplacian import EPSILON, band_system
from imgpipe.matting.matte import Alpha
from imgpipe.matting.solver import MOST_UNKNOWNS, solve_band
from imgpipe.matting.trimap import FOREGROUND, UNKNOWN, Mask, Trimap

#: The exponent of the prior's weight, see the module.
_SURENESS = 8

#: Small bands are solved together until they hold this many unknowns; it changes cost, not results.
_GROUP_UNKNOWNS = 32_768

_NEIGHBOURS = np.ones((3, 3), np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class ClosedForm:
    """``alpha``: float32 (height, width) 0..1, exactly 0 and 1 on known pixels.

    ``bands``: connected bands that were solved; ``one_sided``: those that touch only background or only
    subject; ``iterations``: of conjugate gradients, all groups; ``unsolved``: unknown pixels whose value
    is the prior's (or the coarser one's) because the solver did not reach its tolerance, or in a band of more
    than :data:`~imgpipe.matting.solver.MOST_UNKNOWNS`.
    """

    alpha: Alpha
    bands: int
    one_sided: int
    iterations: int
    unsolved: int


def solve_closed_form(
    colour: Pixels,
    trimap: Trimap,
    *,
    prior: Alpha | None = None,
    prior_weight: float = 0.0,
    epsilon: float | None = EPSILON,
    coarser: Alpha | None = None,
    admitted_px: int = 0,
) -> ClosedForm:
    """Alpha of the unknown pixels of ``trimap``.

    ``colour``: uint8 or uint16 (height, width, 3), full scale; ``trimap``: 0, 128 or 255. ``prior``:
    float32 (height, width) 0..1, a first guess; a band that touches only one kind of known pixel has no
    second colour to be told apart from, and keeps the prior where that says otherwise than its neighbours.
    Without a prior such a band takes its neighbours' value, the energy's minimum. ``prior_weight``: the
    module's ``w``; with 0 the prior is no more than a first guess. ``epsilon``: as
    :func:`~imgpipe.matting.laplacian.window_weights` has it. ``coarser``: float32 (height, width) 0..1, a
    solution at a lower resolution: the value of the pixels that are known and the first guess of the others.
    ``admitted_px``: of the picture that memory was admitted for; 0: this one.
    Raises :class:`ConfigError` for a weight below 0, or above 0 without a prior, and
    :class:`~imgpipe.inference.admitted_memory.MoreMemoryNeeded`.
    """
    if prior_weight < 0 or (prior_weight > 0 and prior is None):
        raise ConfigError(
            f"prior_weight: expected 0, or a number above 0 with a prior, got {prior_weight} "
            f"{'without' if prior is None else 'with'} one"
        )
    alpha = coarser.copy() if coarser is not None else (trimap == FOREGROUND).astype(np.float32)
    unknown = trimap == UNKNOWN
    if not unknown.any():
        return ClosedForm(alpha, 0, 0, 0, 0)
    bands = _Bands.find(unknown)
    kinds = bands.kinds(~unknown & (alpha < 1), ~unknown & (alpha > 0))
    mixed = kinds == 3
    if coarser is None and prior is not None:
        alpha[unknown] = prior[unknown]
    _settle_one_sided(alpha, bands, kinds, prior)
    iterations, unsolved = 0, int(bands.sizes[mixed & (bands.sizes > MOST_UNKNOWNS)].sum())
    number = np.full(trimap.size, -1, np.int32)
    solvable = mixed & (bands.sizes <= MOST_UNKNOWNS)
    groups = list(_groups(bands.sizes, solvable))
    largest = max((band_bytes(*map(len, bands.select(members))) for members in groups), default=0)
    need_extra(largest - assumed_band_bytes(admitted_px or trimap.size))
    for members in groups:
        system = band_system(colour, alpha, number, *bands.select(members), epsilon)
        flat = alpha.reshape(-1)
        guess = flat[system.unknowns].astype(np.float64)
        if prior is not None and prior_weight:
            towards = prior.reshape(-1)[system.unknowns].astype(np.float64)
            system = system.pulled(towards, prior_weight * (2 * towards - 1) ** _SURENESS)
        solution = solve_band(system, guess)
        iterations += solution.iterations
        unsolved += 0 if solution.converged else system.unknowns.size
        flat[system.unknowns] = np.clip(solution.values, 0.0, 1.0)
    _spread_to_uncovered(alpha, unknown, bands)
    return ClosedForm(alpha, len(kinds) - 1, int(np.isin(kinds, (1, 2)).sum()), iterations, unsolved)


@dataclass(frozen=True, slots=True, eq=False)
class _Bands:
    """Connected bands. ``unknowns``/``centres``: flat indices of unknown pixels that a window covers, and of
    those windows' centres; ``*_band``: the band of each, 1..n; ``sizes``: unknowns per band, index 0 unused.
    """

    shape: tuple[int, int]
    unknowns: npt.NDArray[np.int64]
    unknown_band: npt.NDArray[np.int32]
    centres: npt.NDArray[np.int64]
    centre_band: npt.NDArray[np.int32]
    sizes: npt.NDArray[np.int64]

    @classmethod
    def find(cls, unknown: Mask) -> _Bands:
        # Two unknowns share a window exactly when their 3x3 neighbourhoods share its centre, so the
        # components of the dilated unknowns are the independent systems.
        reach = cv2.dilate(unknown.astype(np.uint8), _NEIGHBOURS)
        inside = np.zeros_like(reach)
        inside[1:-1, 1:-1] = reach[1:-1, 1:-1]
        count, labels = cv2.connectedComponents(reach, connectivity=8, ltype=cv2.CV_32S)
        covered = unknown & (cv2.dilate(inside, _NEIGHBOURS) > 0)
        unknowns, centres = np.flatnonzero(covered), np.flatnonzero(inside)
        flat = np.asarray(labels, np.int32).ravel()
        sizes = np.bincount(flat[unknowns], minlength=count)
        height, width = unknown.shape
        return cls((height, width), unknowns, flat[unknowns], centres, flat[centres], sizes)

    def kinds(self, background: Mask, subject: Mask) -> npt.NDArray[np.int64]:
        """Per band: 1 = its windows hold known background, 2 = known subject, 3 = both, 0 = neither."""
        kinds = np.zeros(self.sizes.size, np.int64)
        for bit, known in ((1, background), (2, subject)):
            near = cv2.dilate(known.astype(np.uint8), _NEIGHBOURS).ravel()
            kinds[np.unique(self.centre_band[near[self.centres] > 0])] |= bit
        return kinds

    def select(self, members: Mask) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Unknowns and window centres of the bands whose entry in ``members`` is true."""
        return self.unknowns[members[self.unknown_band]], self.centres[members[self.centre_band]]


def _settle_one_sided(alpha: Alpha, bands: _Bands, kinds: npt.NDArray[np.int64], prior: Alpha | None) -> None:
    flat = alpha.reshape(-1)
    values = (alpha if prior is None else prior).reshape(-1)[bands.unknowns]
    for kind, constant in ((1, 0.0), (2, 1.0)):
        settled = kinds == kind
        if prior is not None:
            settled[bands.unknown_band[np.abs(values - constant) >= 0.5]] = False
        flat[bands.unknowns[settled[bands.unknown_band]]] = constant


def _groups(sizes: npt.NDArray[np.int64], wanted: Mask) -> Iterator[Mask]:
    members = np.zeros(sizes.size, bool)
    total = 0
    for band in np.flatnonzero(wanted & (sizes > 0)):
        members[band] = True
        total += int(sizes[band])
        if total >= _GROUP_UNKNOWNS:
            yield members
            members, total = np.zeros(sizes.size, bool), 0
    if total:
        yield members


def _spread_to_uncovered(alpha: Alpha, unknown: Mask, bands: _Bands) -> None:
    """Unknown pixels that no window covers take the value of the nearest pixel that has one."""
    open_pixels = unknown.copy()
    open_pixels.reshape(-1)[bands.unknowns] = False
    if not open_pixels.any() or open_pixels.all():
        return
    _, nearest = cv2.distanceTransformWithLabels(
        open_pixels.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    value_of = np.zeros(int(nearest.max()) + 1, np.float32)
    value_of[nearest[~open_pixels]] = alpha[~open_pixels]
    alpha[open_pixels] = value_of[nearest[open_pixels]]
