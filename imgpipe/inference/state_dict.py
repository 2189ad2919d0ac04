"""Reads the tensors of a weights file without running anything from it, in memory of about its size.

A state dict comes from safetensors, or from ``torch.save`` through ``torch.load(weights_only=True)``, which
refuses TorchScript by its own listing of the archive. What else that would accept and no network needs is
refused before: records that unpack to more than the file, and calls that make large objects of few bytes.
"""

from __future__ import annotations

import io
import itertools
import pickletools
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from imgpipe.errors import WeightsRefused
from imgpipe.inference.failures import last_line

#: File types that can be read without running code from them.
SAFE_SUFFIXES = (".safetensors", ".pth")

#: What the pickle of a state dict calls; the storage classes are recognised by their name.
_CALLS = ("collections OrderedDict", "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_parameter")
_STORAGE = re.compile(r"torch [A-Z][A-Za-z0-9]*Storage")
_OPCODES_WITHOUT_USE = ("EMPTY_SET", "STACK_GLOBAL", "INST", "OBJ")

#: A state dict's pickle takes about 150 bytes per tensor.
_MAX_PICKLE_BYTES = 2_097_152
#: ``torch.save`` before 1.6: magic number, protocol, system, the object, the keys of its storages.
_LEGACY_PICKLES = 5

#: What a network may allocate beyond its tensors while it is built: masks and index tables.
_SPARE_BYTES = 134_217_728


def read_state_dict(path: Path) -> dict[str, Any]:
    """The object in a weights file: tensors by name, or mappings of them, on the CPU.

    Raises :class:`WeightsRefused` for every file that is not a state dict, whatever is in it.
    """
    if path.suffix.lower() not in SAFE_SUFFIXES:
        raise WeightsRefused(
            f"{path}: expected a file that can be read without running code from it "
            f"({', '.join(SAFE_SUFFIXES)}), got {path.suffix or 'no suffix'!r}; convert it to safetensors"
        )
    try:
        if path.suffix.lower() == ".safetensors":
            return load_file(path)
        _check_pickle(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except WeightsRefused:
        raise
    except Exception as exc:  # a hostile or damaged file can raise anything; all of it is the file's fault
        raise WeightsRefused(
            f"{path}: expected a state dict, got a file that does not load ({last_line(exc)}); "
            "fetch it again, or convert it to safetensors"
        ) from exc
    if not isinstance(found, dict):
        raise WeightsRefused(f"{path}: expected a state dict, got {type(found).__name__}; fetch it again")
    return found


def check_sizes(state: object, path: Path) -> dict[str, Tensor]:
    """The tensors in ``state``; refuses names and shapes that stand for a network much larger than the file.

    Raises :class:`WeightsRefused`.
    """
    items = state.items() if isinstance(state, Mapping) else ()
    tensors = {str(name): value for name, value in items if isinstance(value, Tensor)}
    size = path.stat().st_size
    held = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    if held > 2 * size:
        raise WeightsRefused(
            f"{path}: expected tensors of at most its own size, {size:,} bytes, they stand for {held:,}; "
            "fetch it again"
        )
    most = 10 * len(tensors) + 100
    for name in tensors:
        if any(int(digits[:19]) > most for digits in re.findall(r"\d+", name)):
            raise WeightsRefused(
                f"{path}: expected layers numbered up to {most} at {len(tensors)} tensors, got "
                f"{name[:100]!r}; fetch it again"
            )
    return tensors


@contextmanager
def bounded_building(path: Path) -> Iterator[None]:
    """While a network is built from ``path``: at most :data:`_SPARE_BYTES` and 4 times the file at once.

    A layer's size follows from another one's shape, so that a small file can ask for any amount.
    Raises :class:`WeightsRefused`.
    """
    with _Bounded(_SPARE_BYTES + 4 * path.stat().st_size, path):
        yield


class _Bounded(TorchDispatchMode):
    """Counts what is allocated from sizes alone, as parameters are; of anything else, each result."""

    def __init__(self, most_bytes: int, path: Path) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._most, self._path = most_bytes, path
        self._made = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor) and result.device.type != "meta":
            of_sizes = not any(isinstance(value, Tensor) for value in args)
            size = result.numel() * result.element_size()
            self._made += size if of_sizes else 0
            if max(size, self._made) > self._most:
                raise WeightsRefused(
                    f"{self._path}: expected a network of about the file's size, its layers would take more "
                    f"than {self._most:,} bytes; fetch it again"
                )
        return result


def _check_pickle(path: Path) -> None:
    """Refuse what a state dict's pickle does not need; raises anything for a damaged one."""
    with path.open("rb") as file:
        start = file.read(_MAX_PICKLE_BYTES)
    if not start.startswith(b"PK\x03\x04"):  # as torch.load decides
        _check_calls(start, _LEGACY_PICKLES, path)
        return
    # By the reader that torch.load uses: zipfile would see another archive in a file made for that.
    reader = torch._C.PyTorchFileReader(str(path))
    names = reader.get_all_records()
    if "constants.pkl" in names:
        raise WeightsRefused(
            f"{path}: expected a state dict, got a TorchScript archive, which holds code; "
            "convert its state dict to safetensors"
        )
    size, unpacked = path.stat().st_size, sum(reader.get_record_size(name) for name in names)
    if unpacked > size:
        raise WeightsRefused(
            f"{path}: expected records that are not compressed, as torch.save writes them, got a file of "
            f"{size:,} bytes that unpacks to {unpacked:,}; save it again with torch.save"
        )
    if reader.get_record_size("data.pkl") > _MAX_PICKLE_BYTES:
        raise WeightsRefused(
            f"{path}: expected a state dict whose names take at most {_MAX_PICKLE_BYTES:,} bytes; "
            "convert it to safetensors"
        )
    _check_calls(reader.get_record("data.pkl"), 1, path)


def _check_calls(data: bytes, pickles: int, path: Path) -> None:
    stream = io.BytesIO(data)
    for opcode, argument, _ in itertools.chain.from_iterable(
        pickletools.genops(stream) for _ in range(pickles)
    ):
        known = argument in _CALLS or _STORAGE.fullmatch(str(argument))
        if opcode.name in _OPCODES_WITHOUT_USE or (opcode.name == "GLOBAL" and not known):
            raise WeightsRefused(
                f"{path}: expected a state dict, which calls nothing but the making of tensors, got "
                f"{opcode.name} {argument or ''}; fetch it again, or convert it to safetensors"
            )
