"""OpenCV's ``dnn_superres``: EDSR, ESPCN, FSRCNN and LapSRN as TensorFlow graphs (.pb).

The files say neither their network nor their factor; by custom their names do, as in ``EDSR_x4.pb``.
OpenCV takes and gives 8-bit BGR; ESPCN, FSRCNN and LapSRN enlarge luma, and chroma goes bicubic.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np

from imgpipe.errors import InferenceError, ModelMismatch, OutOfMemory, PackagesMissing, WeightsRefused
from imgpipe.inference.memory_model import ASSUMED_MEMORY
from imgpipe.inference.weights import LocatedWeights
from imgpipe.upscaling import receptive_field
from imgpipe.upscaling.network import Floats, LoadedNetwork, Strip, strip_of

#: Algorithm as OpenCV names it -> the factors that its authors published.
_ALGORITHMS = {"edsr": (2, 3, 4), "espcn": (2, 3, 4), "fsrcnn": (2, 3, 4), "lapsrn": (2, 4, 8)}
_NAME = re.compile(r"(edsr|espcn|fsrcnn|lapsrn)[^/]*?x(\d)", re.IGNORECASE)
_PROBE_WIDTH_PX, _PROBE_HEIGHT_PX = 20, 16


def load_network(located: LocatedWeights, *, precision: str) -> LoadedNetwork:
    """The network in ``located``, checked on a small picture.

    Raises :class:`ModelMismatch` (a name that does not say what it is, or another factor than it says),
    :class:`WeightsRefused` (not loadable) and :class:`PackagesMissing` (OpenCV without contrib).
    """
    if not hasattr(cv2, "dnn_superres"):
        raise PackagesMissing(
            f"{located.path}: OpenCV {cv2.__version__} has no dnn_superres; "
            "install opencv-contrib-python-headless, and no other OpenCV package beside it"
        )
    network = DnnSuperresNetwork(located)
    network.check()
    reasons = ["dnn_superres works with 8 bits per channel"]
    if precision not in ("auto", "fp32"):
        reasons.append(f"precision {precision} was asked for: dnn_superres works in fp32")
    field = receptive_field.measure(network.enlarge, network.scale)
    return LoadedNetwork(
        network,
        backend="dnn_superres",
        runtime="opencv",
        architecture=network.algorithm.upper(),
        receptive_field=field,
        memory=ASSUMED_MEMORY,
        tileable=field.exact,
        reasons=tuple(reasons),
    )


class DnnSuperresNetwork:
    """An :class:`imgpipe.upscaling.network.Network` around ``cv2.dnn_superres.DnnSuperResImpl``."""

    precision = "fp32"
    device = "cpu"

    def __init__(self, located: LocatedWeights) -> None:
        self._path = located.path
        self.algorithm, self.scale = _named(located)
        self._implementation: Any = cv2.dnn_superres.DnnSuperResImpl.create()
        try:
            self._implementation.readModel(str(located.path))
            self._implementation.setModel(self.algorithm, self.scale)
        except cv2.error as exc:
            raise WeightsRefused(
                f"{located.path}: expected a TensorFlow graph that OpenCV {cv2.__version__} reads, it says: "
                f"{_first_line(exc)}; fetch the file again"
            ) from exc

    def strips(self, windows: Floats) -> Iterator[Strip]:
        """See :meth:`imgpipe.upscaling.network.Network.strips`; one strip for all rows."""
        yield strip_of(np.stack([self.enlarge(window) for window in windows]), self.scale)

    def enlarge(self, window: Floats) -> Floats:
        """(h, w, 3) float32 RGB in 0..1 -> (h * scale, w * scale, 3) float32, in steps of 1/255."""
        levels = np.floor(np.clip(window, 0, 1) * 255 + 0.5).astype(np.uint8)
        try:
            result = self._implementation.upsample(np.ascontiguousarray(levels[..., ::-1]))
        except cv2.error as exc:
            what = f"a window of {window.shape[1]} x {window.shape[0]} px"
            if exc.code == cv2.Error.StsNoMem:
                raise OutOfMemory(f"{what} does not fit into the memory of the host") from exc
            raise InferenceError(f"{self._path}: the network failed on {what}: {_first_line(exc)}") from exc
        return np.ascontiguousarray(result[..., ::-1]).astype(np.float32) / np.float32(255)

    def check(self) -> None:
        """Raise :class:`ModelMismatch` unless a small picture comes back ``scale`` times as large."""
        probe = np.random.default_rng(0).random((_PROBE_HEIGHT_PX, _PROBE_WIDTH_PX, 3), dtype=np.float32)
        expected = (_PROBE_HEIGHT_PX * self.scale, _PROBE_WIDTH_PX * self.scale, 3)
        try:
            shape = self.enlarge(probe).shape
        except InferenceError as exc:
            raise ModelMismatch(f"{exc}; its name says {self.algorithm} x{self.scale}: is it that?") from exc
        if shape != expected:
            raise ModelMismatch(
                f"{self._path}: expected an output of {expected}, as its name says x{self.scale}, "
                f"got {shape}; "
                "rename the file after its real factor"
            )

    def take_retries(self) -> int:
        """Always 0: there is one precision."""
        return 0

    def release_cached_memory(self) -> None:
        """OpenCV keeps nothing that it could give back."""


def _named(located: LocatedWeights) -> tuple[str, int]:
    found = _NAME.search(located.path.name)
    if found is not None:
        algorithm, scale = found[1].lower(), int(found[2])
        if scale in _ALGORITHMS[algorithm]:
            return algorithm, scale
    known = ", ".join(f"{name.upper()}_x{scales[-1]}.pb" for name, scales in _ALGORITHMS.items())
    raise ModelMismatch(
        f"{located.path}: expected a file name that says network and factor, as in {known}; rename the file"
    )


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else "no message"
