"""Which weights files are known, where they lie, and whether they are the right ones.

A registered file counts only with its exact size and sha256. No heavy imports: shell code reads names and
licences from here.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from imgpipe.errors import ConfigError, WeightsCorrupt, WeightsMissing
from imgpipe.inference.digests import remembered_sha256
from imgpipe.inference.registry import REGISTRY as REGISTRY
from imgpipe.inference.registry import Task as Task
from imgpipe.inference.registry import Weights as Weights

#: A name that ends like this is a file, not a registered model.
WEIGHTS_SUFFIXES = (".onnx", ".safetensors", ".pth", ".pt", ".ckpt", ".pb", ".bin")

#: Methods without weights, by task; they are resolved before a weights file is looked for.
CLASSICAL_NAMES: Mapping[Task, tuple[str, ...]] = {
    "matting": ("classical",),
    "upscaling": ("lanczos", "bicubic"),
    "refining": (),
    "fixing": (),
}

#: Of each task: the setting that names its model, and the one that does without weights.
_SETTINGS: Mapping[Task, tuple[str, str]] = {
    "matting": ("rembg.model", "rembg.fallback=classical"),
    "upscaling": ("upscale.model", "upscale.fallback=lite"),
    "refining": ("rembg.vitmatte_model", "rembg.alpha_matting=auto"),
    "fixing": ("fix_artifacts.model", "fix_artifacts.model=null"),
}


@dataclass(frozen=True, slots=True)
class LocatedWeights:
    """A weights file that is present. ``weights`` is ``None`` for a file that is in no registry."""

    name: str
    path: Path
    sha256: str
    weights: Weights | None

    @property
    def licence(self) -> str:
        return self.weights.licence if self.weights else "unknown"

    @property
    def shipped(self) -> bool:
        """Whether it is a file of this package."""
        return self.weights is not None and self.weights.shipped


def names_for(task: Task) -> tuple[str, ...]:
    """Registered names for ``task``, in registry order."""
    return tuple(weights.name for weights in REGISTRY.values() if weights.task == task)


def registered(name: str) -> Weights:
    """The registry's entry; raises :class:`ConfigError` with a suggestion for an unknown name."""
    if name not in REGISTRY:
        raise ConfigError(f"model {name!r}: unknown name; {_suggest(name, tuple(REGISTRY))}")
    return REGISTRY[name]


def locate(name_or_path: str, task: Task, model_dir: Path, setting: str = "") -> LocatedWeights:
    """The verified file for a registered name, or the file at a path with its digest.

    What is in the registry is that name; what contains a separator, ends like a weights file or exists
    is a path. A path whose digest is a registered one carries that entry. ``setting``: what messages call it,
    where it is not the task's own.

    Raises :class:`ConfigError` (unknown name, or a model for the other task), :class:`WeightsMissing`,
    :class:`WeightsCorrupt` (a registered file with another size or digest), :class:`ModelError`
    (unreadable).
    """
    key = setting or _SETTINGS[task][0]
    if name_or_path in REGISTRY:
        weights = REGISTRY[name_or_path]
        _check_task(weights, weights.name, task, key)
        return _locate_registered(weights, model_dir)
    path = Path(name_or_path).expanduser()
    looks_like_path = os.sep in name_or_path or name_or_path.lower().endswith(WEIGHTS_SUFFIXES)
    if looks_like_path or path.is_file():
        return _locate_file(path, task, key)
    raise ConfigError(
        f"{key}: {name_or_path!r} is no model for {task}; "
        f"{_suggest(name_or_path, names_for(task) + CLASSICAL_NAMES[task])}, "
        f"or the path of a weights file ({', '.join(WEIGHTS_SUFFIXES[:3])})"
    )


def registered_as(name_or_path: str) -> Weights | None:
    """The registry's entry of a name, or of a file with registered bytes; ``None`` for everything else."""
    path = Path(name_or_path).expanduser()
    if name_or_path in REGISTRY or not path.is_file():
        return REGISTRY.get(name_or_path)
    digest = remembered_sha256(path)
    return next((known for known in REGISTRY.values() if known.sha256 == digest), None)


def check_licence(weights: Weights, allowed: Collection[str]) -> None:
    """Raise :class:`ConfigError` unless the licence is an allowed one."""
    if weights.licence in allowed:
        return
    terms = (
        ""
        if weights.commercial
        else f" {weights.notes} Who has read its terms and accepts them adds it there."
    )
    raise ConfigError(
        f"{weights.name}: its licence is {weights.licence}, models.allowed_licences has "
        f"{', '.join(allowed) or 'none'}; choose another model or add it.{terms}"
    )


def check_digest(weights: Weights, path: Path, size_bytes: int, sha256: str) -> None:
    """Raise :class:`WeightsCorrupt` unless size and digest are the registered ones."""
    if weights.size_bytes in (size_bytes, 0) and sha256 == weights.sha256:
        return
    again = f"delete the file and run `imgpipe models pull {weights.name}`"
    renew = "install imgpipe anew" if weights.shipped else again
    raise WeightsCorrupt(
        f"{path}: not the registered {weights.name}: expected {weights.size_bytes:,} bytes, sha256 "
        f"{weights.sha256}, got {size_bytes:,} bytes, sha256 {sha256}; {renew}, or give this file by its "
        "path if it is wanted as it is"
    )


def _locate_registered(weights: Weights, model_dir: Path) -> LocatedWeights:
    path = weights.path(model_dir)
    if not path.is_file():
        if weights.shipped:
            raise WeightsMissing(f"{weights.name}: {path} of this package is missing; install imgpipe anew")
        pull = f"run `imgpipe models pull {weights.name}`, or " if weights.size_bytes else ""
        size = f" ({weights.size_bytes:,} bytes)" if weights.size_bytes else ""
        raise WeightsMissing(
            f"{weights.name}: the weights file {path} is missing; {pull}fetch {weights.url}{size} elsewhere "
            f"and put it there as {weights.filename} (IMGPIPE_MODEL_DIR names another folder), or go on "
            f"without it: --set {_SETTINGS[weights.task][1]}"
        )
    digest = remembered_sha256(path)
    check_digest(weights, path, path.stat().st_size, digest)
    return LocatedWeights(weights.name, path, digest, weights)


def _locate_file(path: Path, task: Task, key: str) -> LocatedWeights:
    if not path.is_file():
        what = "a folder" if path.is_dir() else "nothing"
        raise WeightsMissing(
            f"{key}: expected a weights file at {path}, found {what} there; "
            f"give an existing file or a name: {', '.join(names_for(task))}"
        )
    digest, weights = remembered_sha256(path), registered_as(str(path))
    if weights is not None:
        _check_task(weights, str(path), task, key)
    return LocatedWeights(weights.name if weights else path.stem, path, digest, weights)


def _check_task(weights: Weights, given: str, task: Task, key: str) -> None:
    if weights.task != task:
        raise ConfigError(
            f"{key}: expected a model for {task}, {given} is {weights.name} for "
            f"{weights.task}; valid names: {', '.join(names_for(task) + CLASSICAL_NAMES[task])}"
        )


def _suggest(name: str, valid: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(name, valid, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}valid names: {', '.join(valid)}"
