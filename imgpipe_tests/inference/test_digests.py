"""Digests of files, computed once for each version of a file."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from imgpipe.errors import ModelError
from imgpipe.inference import digests
from imgpipe.inference.digests import remembered_sha256, sha256_of


def test_digest_over_several_chunks(tmp_path: Path) -> None:
    content = bytes(range(256)) * 12_289
    path = tmp_path / "w.onnx"
    path.write_bytes(content)
    assert sha256_of(path) == hashlib.sha256(content).hexdigest()
    for digest in (sha256_of, remembered_sha256):
        with pytest.raises(ModelError, match="expected a readable weights file"):
            digest(tmp_path / "none.onnx")


def test_a_file_is_hashed_again_only_where_it_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Path] = []

    def counting(path: Path) -> str:
        calls.append(path)
        return sha256_of(path)

    monkeypatch.setattr(digests, "sha256_of", counting)
    path = tmp_path / "w.onnx"
    path.write_bytes(b"abc")
    before = path.stat()
    assert remembered_sha256(path) == remembered_sha256(path) == hashlib.sha256(b"abc").hexdigest()
    assert calls == [path]
    path.write_bytes(b"xyz")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert remembered_sha256(path) == hashlib.sha256(b"xyz").hexdigest()
    path.write_bytes(b"longer")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert remembered_sha256(path) == hashlib.sha256(b"longer").hexdigest()
    assert list(tmp_path.iterdir()) == [path]
