"""Which weights files are known, where they lie, and whether they are the right ones.

A registered file counts only with its exact size and sha256. No heavy imports: shell code reads names and
licences from here.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from imgpipe.errors import ConfigError, WeightsCorrupt, WeightsMissing
from imgpipe.inference.digests import remembered_sha256

Task = Literal["matting", "upscaling"]

#: A name that ends like this is a file, not a registered model.
WEIGHTS_SUFFIXES = (".onnx", ".safetensors", ".pth", ".pt", ".ckpt", ".pb", ".bin")

#: Methods without weights, by task; they are resolved before a weights file is looked for.
CLASSICAL_NAMES: Mapping[Task, tuple[str, ...]] = {
    "matting": ("classical",),
    "upscaling": ("lanczos", "bicubic"),
}

#: The section of the configuration that a task's settings live in.
SETTINGS_SECTION: Mapping[Task, str] = {"matting": "rembg", "upscaling": "upscale"}


@dataclass(frozen=True, slots=True)
class Weights:
    """One published weights file.

    ``licence``: SPDX identifier under which its authors publish it. ``scale``: enlargement factor of an
    upscaling network, ``None`` for matting. ``sha256``: lower-case hex.
    """

    name: str
    task: Task
    url: str
    size_bytes: int
    sha256: str
    licence: str
    authors: str
    network: str
    scale: int | None
    notes: str

    @property
    def filename(self) -> str:
        """Its name in the model folder: the one that it is published under."""
        return self.url.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class LocatedWeights:
    """A weights file that is present. ``weights`` is ``None`` for a file that is in no registry."""

    name: str
    path: Path
    sha256: str
    weights: Weights | None


_REMBG = "https://github.com/danielgatis/rembg/releases/download/v0.0.0"
_REAL_ESRGAN = "https://github.com/xinntao/Real-ESRGAN/releases/download"

_ALL = (
    Weights(
        name="isnet-anime",
        task="matting",
        url=f"{_REMBG}/isnet-anime.onnx",
        size_bytes=176_069_933,
        sha256="f15622d853e8260172812b657053460e20806f04b9e05147d49af7bed31a6e99",
        licence="Apache-2.0",
        authors="SkyTNT (anime-segmentation)",
        network="IS-Net, 1024x1024, ONNX",
        scale=None,
        notes="Anime characters. The same file as isnetis.onnx of github.com/SkyTNT/anime-segmentation.",
    ),
    Weights(
        name="u2net",
        task="matting",
        url=f"{_REMBG}/u2net.onnx",
        size_bytes=175_997_641,
        sha256="8d10d2f3bb75ae3b6d527c77944fc5e7dcd94b29809d47a739a7a728a912b491",
        licence="Apache-2.0",
        authors="Xuebin Qin et al. (U-2-Net)",
        network="U2-Net, 320x320, ONNX",
        scale=None,
        notes="Salient objects in photographs; coarse edges on drawings.",
    ),
    Weights(
        name="isnet-general-use",
        task="matting",
        url=f"{_REMBG}/isnet-general-use.onnx",
        size_bytes=178_648_008,
        sha256="60920e99c45464f2ba57bee2ad08c919a52bbf852739e96947fbb4358c0d964a",
        licence="Apache-2.0",
        authors="Xuebin Qin et al. (DIS)",
        network="IS-Net, 1024x1024, ONNX",
        scale=None,
        notes="Any subject: objects, animals, people. Its training set DIS5K has terms of use of its own.",
    ),
    Weights(
        name="realesrgan-anime-6b",
        task="upscaling",
        url=f"{_REAL_ESRGAN}/v0.2.2.4/RealESRGAN_x4plus_anime_6B.pth",
        size_bytes=17_938_799,
        sha256="f872d837d3c90ed2e05227bed711af5671a6fd1c9f7d7e91c911a61f155e99da",
        licence="BSD-3-Clause",
        authors="Xintao Wang et al. (Real-ESRGAN)",
        network="RRDBNet, 64 features, 6 blocks, growth 32",
        scale=4,
        notes="Anime illustrations, still pictures.",
    ),
    Weights(
        name="realesr-animevideov3",
        task="upscaling",
        url=f"{_REAL_ESRGAN}/v0.2.5.0/realesr-animevideov3.pth",
        size_bytes=2_504_012,
        sha256="b8a8376811077954d82ca3fcf476f1ac3da3e8a68a4f4d71363008000a18b75d",
        licence="BSD-3-Clause",
        authors="Xintao Wang et al. (Real-ESRGAN)",
        network="SRVGGNetCompact, 64 features, 16 convolutions, PReLU",
        scale=4,
        notes="Anime video frames; about nine times less arithmetic than the 6B network.",
    ),
)

#: Every model that may be asked for by name.
REGISTRY: Mapping[str, Weights] = MappingProxyType({weights.name: weights for weights in _ALL})


def names_for(task: Task) -> tuple[str, ...]:
    """Registered names for ``task``, in registry order."""
    return tuple(weights.name for weights in REGISTRY.values() if weights.task == task)


def registered(name: str) -> Weights:
    """The registry's entry; raises :class:`ConfigError` with a suggestion for an unknown name."""
    if name not in REGISTRY:
        raise ConfigError(f"model {name!r}: unknown name; {_suggest(name, tuple(REGISTRY))}")
    return REGISTRY[name]


def locate(name_or_path: str, task: Task, model_dir: Path) -> LocatedWeights:
    """The verified file for a registered name, or the file at a path with its digest.

    What is in the registry is that name; what contains a separator, ends like a weights file or exists
    is a path. A path whose digest is a registered one carries that entry.

    Raises :class:`ConfigError` (unknown name, or a model for the other task), :class:`WeightsMissing`,
    :class:`WeightsCorrupt` (a registered file with another size or digest), :class:`ModelError`
    (unreadable).
    """
    if name_or_path in REGISTRY:
        weights = REGISTRY[name_or_path]
        _check_task(weights, weights.name, task)
        return _locate_registered(weights, model_dir)
    path = Path(name_or_path).expanduser()
    looks_like_path = os.sep in name_or_path or name_or_path.lower().endswith(WEIGHTS_SUFFIXES)
    if looks_like_path or path.is_file():
        return _locate_file(path, task)
    key = f"{SETTINGS_SECTION[task]}.model"
    raise ConfigError(
        f"{key}: {name_or_path!r} is no model for {task}; "
        f"{_suggest(name_or_path, names_for(task) + CLASSICAL_NAMES[task])}, "
        f"or the path of a weights file ({', '.join(WEIGHTS_SUFFIXES[:3])})"
    )


def check_digest(weights: Weights, path: Path, size_bytes: int, sha256: str) -> None:
    """Raise :class:`WeightsCorrupt` unless size and digest are the registered ones."""
    if size_bytes == weights.size_bytes and sha256 == weights.sha256:
        return
    raise WeightsCorrupt(
        f"{path}: not the registered {weights.name}: expected {weights.size_bytes:,} bytes, sha256 "
        f"{weights.sha256}, got {size_bytes:,} bytes, sha256 {sha256}; delete the file and run "
        f"`imgpipe models pull {weights.name}`, or give this file by its path if it is wanted as it is"
    )


def _locate_registered(weights: Weights, model_dir: Path) -> LocatedWeights:
    path = model_dir / weights.filename
    if not path.is_file():
        section = SETTINGS_SECTION[weights.task]
        raise WeightsMissing(
            f"{weights.name}: the weights file {path} is missing; run `imgpipe models pull {weights.name}`, "
            f"or fetch {weights.url} ({weights.size_bytes:,} bytes) elsewhere and put it there as "
            f"{weights.filename} (IMGPIPE_MODEL_DIR names another folder), or go on without it: "
            f"--set {section}.fallback=classical"
        )
    digest = remembered_sha256(path)
    check_digest(weights, path, path.stat().st_size, digest)
    return LocatedWeights(weights.name, path, digest, weights)


def _locate_file(path: Path, task: Task) -> LocatedWeights:
    if not path.is_file():
        what = "a folder" if path.is_dir() else "nothing"
        raise WeightsMissing(
            f"{SETTINGS_SECTION[task]}.model: expected a weights file at {path}, found {what} there; "
            f"give an existing file or a name: {', '.join(names_for(task))}"
        )
    digest = remembered_sha256(path)
    weights = next((known for known in REGISTRY.values() if known.sha256 == digest), None)
    if weights is not None:
        _check_task(weights, str(path), task)
    return LocatedWeights(weights.name if weights else path.stem, path, digest, weights)


def _check_task(weights: Weights, given: str, task: Task) -> None:
    if weights.task != task:
        raise ConfigError(
            f"{SETTINGS_SECTION[task]}.model: expected a model for {task}, {given} is {weights.name} for "
            f"{weights.task}; valid names: {', '.join(names_for(task) + CLASSICAL_NAMES[task])}"
        )


def _suggest(name: str, valid: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(name, valid, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}valid names: {', '.join(valid)}"
