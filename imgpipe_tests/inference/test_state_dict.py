"""What a weights file may hold, and what refusing anything else costs."""

from __future__ import annotations

import codecs
import io
import struct
import subprocess
import sys
import tarfile
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from imgpipe.errors import WeightsRefused
from imgpipe.inference.state_dict import read_state_dict

#: What a refused file may cost, whatever it asks for.
MOST_BYTES = 320_000_000

#: A module whose state is set by code, which the archive holds: loading it writes a file.
WRITER = """
from typing import Tuple
import torch

class Writer(torch.nn.Module):
    def __init__(self, path: str):
        super().__init__()
        self.path = path
        self.total = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x

    @torch.jit.export
    def __getstate__(self) -> Tuple[str, bool]:
        return self.path, self.training

    @torch.jit.export
    def __setstate__(self, state: Tuple[str, bool]) -> None:
        self.total = int(torch.from_file(state[0], True, 4, dtype=torch.uint8).fill_(65).sum())
        self.path = state[0]
        self.training = state[1]
"""


def _state() -> dict[str, torch.Tensor]:
    return {"a.weight": torch.arange(12.0).reshape(3, 4).half(), "a.bias": torch.zeros(3, dtype=torch.int64)}


@pytest.mark.parametrize("kind", ["safetensors", "zip", "legacy", "parameters"])
def test_state_dicts_of_every_writer_are_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / ("a.safetensors" if kind == "safetensors" else "a.pth")
    state = _state()
    match kind:
        case "safetensors":
            save_file(state, path)
        case "parameters":
            torch.save(
                OrderedDict((name, nn.Parameter(t, requires_grad=False)) for name, t in state.items()), path
            )
        case _:
            torch.save(state, path, _use_new_zipfile_serialization=kind == "zip")
    found = read_state_dict(path)
    assert found.keys() == state.keys()
    for name, tensor in state.items():
        assert torch.equal(found[name], tensor), name
        assert found[name].dtype == tensor.dtype


def two_faced(archive: bytes) -> bytes:
    """The archive with a second directory, which Python's zipfile lists and torch's reader does not.

    zipfile takes the directory that ends where the end record begins, torch the one at the record's offset.
    """
    plain = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(plain, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    data = plain.getvalue()
    end = len(data) - 22
    size, offset = struct.unpack("<II", data[end + 12 : end + 20])
    shown = data[offset : offset + size].replace(b"constants.pkl", b"constants.pk_")
    return data[:end] + shown + data[end:]


@pytest.mark.filterwarnings("ignore:.*torch.jit", "ignore:.*torch.load:UserWarning")
def test_an_archive_with_two_directories_writes_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TorchScript that zipfile does not see: its code must not run, and it wrote a file of its choice."""
    from imgpipe.inference.weights import LocatedWeights
    from imgpipe.upscaling.spandrel_network import load_network

    (tmp_path / "writer_module.py").write_text(WRITER)
    monkeypatch.syspath_prepend(tmp_path)
    import writer_module  # type: ignore[import-not-found]

    written, path, whole = tmp_path / "written", tmp_path / "model.pth", io.BytesIO()
    torch.jit.save(torch.jit.script(writer_module.Writer(str(written))), whole)
    path.write_bytes(two_faced(whole.getvalue()))
    with zipfile.ZipFile(path) as archive:
        assert not any("constants.pkl" in name for name in archive.namelist())
    with pytest.raises(WeightsRefused, match="TorchScript"):
        load_network(LocatedWeights("m", path, "0" * 64, None), device="cpu", precision="fp32")
    assert not written.exists()
    torch.jit.load(str(path))  # The file does what it is meant to do.
    assert written.read_bytes() == b"AAAA"


def _bombs(folder: Path) -> None:
    small = io.BytesIO()
    torch.save(_state(), small)
    for bomb in ("data.pkl", "data/0"):
        with zipfile.ZipFile(small) as old, zipfile.ZipFile(folder / f"deflated-{bomb[5:]}.pth", "w") as new:
            for name in old.namelist():
                if not name.endswith(bomb):
                    new.writestr(name, old.read(name))
                    continue
                info = zipfile.ZipInfo(name)
                info.compress_type = zipfile.ZIP_DEFLATED
                with new.open(info, "w") as record:
                    record.write(old.read(name))
                    for _ in range(400):
                        record.write(bytes(1_000_000))


def _wide(features: int) -> dict[str, torch.Tensor]:
    """A Compact network's first and last layer, as wide as that; the layers between are built from it."""
    return {
        "body.0.weight": torch.zeros(features, 3, 3, 3),
        "body.0.bias": torch.zeros(features),
        "body.1.weight": torch.zeros(features),
        "body.2.weight": torch.zeros(1, 1, 3, 3),
        "body.2.bias": torch.zeros(1),
        "body.3.weight": torch.zeros(1),
        "body.4.weight": torch.zeros(3, features, 3, 3),
        "body.4.bias": torch.zeros(3),
    }


class _Call:
    def __init__(self, function: object, *arguments: object) -> None:
        self._made = (function, arguments)

    def __reduce__(self) -> object:  # type: ignore[override]
        return self._made


def _hostile(folder: Path) -> None:
    """Small files that ask for a lot of memory in every place that was thought of."""
    _bombs(folder)
    torch.save({"a.weight": torch.zeros(1).expand(200_000_000)}, folder / "expanded.pth")
    same = torch.zeros(250_000)
    torch.save({f"a.{index}": same for index in range(400)}, folder / "shared.pth")
    save_file(_wide(9_000), folder / "wide.safetensors")
    deep = {name.replace("body.4", "body.9999998"): tensor for name, tensor in _wide(64).items()}
    save_file(deep, folder / "deep.safetensors")
    doubled: object = b"ab"
    for _ in range(29):
        doubled = _Call(codecs.encode, doubled, "hex")
    for name, value in (("bytes", _Call(bytearray, 1_500_000_000)), ("hex", doubled), ("set", set())):
        for new in (True, False):
            path = folder / f"{name}-{'zip' if new else 'legacy'}.pth"
            torch.save({"a": value}, path, _use_new_zipfile_serialization=new)
    # Memo entry 100,000,000: pickle's own unpickler makes room for all before it.
    memo = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19r" + struct.pack("<I", 100_000_000) + b"."
    (folder / "memo.pth").write_bytes(memo)
    torch.save({"params": {"a.weight": torch.zeros(3)}}, folder / "unknown.pth")


def test_a_refused_file_costs_little_memory(tmp_path: Path) -> None:
    """Each in a process that has loaded a good network before, whose peak is the measure."""
    _hostile(tmp_path)
    code = """if True:
        import resource, sys
        from pathlib import Path
        from imgpipe.errors import WeightsRefused
        from imgpipe.inference.weights import LocatedWeights
        from imgpipe.upscaling.spandrel_network import load_network
        def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        for path in [Path(sys.argv[1]) / "unknown.pth", *sorted(Path(sys.argv[1]).iterdir())]:
            before = peak()
            try:
                load_network(LocatedWeights("m", path, "0" * 64, None), device="cpu", precision="fp32")
                print(path.name, path.stat().st_size, peak() - before, "loaded")
            except WeightsRefused as exc:
                print(path.name, path.stat().st_size, peak() - before, "refused:", exc)
    """
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()[1:]
    assert len(lines) == len(list(tmp_path.iterdir()))
    for line in lines:
        _, size, cost, outcome, *_ = line.split(" ", 4)
        assert outcome == "refused:", line
        assert int(cost) < MOST_BYTES, line
        assert int(size) < 2_500_000, line


def test_archives_of_other_kinds_are_refused(tmp_path: Path) -> None:
    """The tar of torch 0.1, bytes before the archive, a cut one, nothing, a list of tensors."""
    whole = io.BytesIO()
    torch.save(_state(), whole)
    with tarfile.open(tmp_path / "tar.pth", "w") as archive:
        for name in ("storages", "tensors", "pickle"):
            archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    (tmp_path / "before.pth").write_bytes(b"#!/bin/sh\n" + whole.getvalue())
    (tmp_path / "cut.pth").write_bytes(whole.getvalue()[:-30])
    (tmp_path / "empty.pth").touch()
    torch.save([torch.zeros(3)], tmp_path / "list.pth")
    for path in tmp_path.iterdir():
        with pytest.raises(WeightsRefused, match=path.name):
            read_state_dict(path)
