"""sha256, and the note that saves computing it again."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from pathlib import Path

import pytest

from imgpipe.errors import ModelError
from imgpipe.inference import digests
from imgpipe.inference.digests import note_path, remembered_sha256, sha256_of


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Notes are left for any size; every real hashing is listed here."""
    calls: list[Path] = []
    real = digests.sha256_of

    def counting(path: Path) -> str:
        calls.append(path)
        return real(path)

    monkeypatch.setattr(digests, "WORTH_REMEMBERING_BYTES", 0)
    monkeypatch.setattr(digests, "sha256_of", counting)
    return calls


def test_digest_over_several_chunks(tmp_path: Path) -> None:
    content = bytes(range(256)) * 12_289
    path = tmp_path / "w.onnx"
    path.write_bytes(content)
    assert sha256_of(path) == hashlib.sha256(content).hexdigest()
    with pytest.raises(ModelError, match="expected a readable weights file"):
        sha256_of(tmp_path / "none.onnx")
    with pytest.raises(ModelError, match="expected a readable weights file"):
        remembered_sha256(tmp_path / "none.onnx")


def test_a_digest_is_computed_once(counted: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "w.onnx"
    path.write_bytes(b"abc")
    first = remembered_sha256(path)
    assert remembered_sha256(path) == first == hashlib.sha256(b"abc").hexdigest()
    assert counted == [path]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["w.onnx", "w.onnx.digest.json"]


def test_a_small_file_leaves_no_note(tmp_path: Path) -> None:
    path = tmp_path / "w.onnx"
    path.write_bytes(b"abc")
    remembered_sha256(path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_changed_file_is_hashed_again(counted: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "w.onnx"
    path.write_bytes(b"abc")
    remembered_sha256(path)
    before = path.stat()
    path.write_bytes(b"xyz")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert remembered_sha256(path) == hashlib.sha256(b"xyz").hexdigest()
    path.write_bytes(b"longer")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert remembered_sha256(path) == hashlib.sha256(b"longer").hexdigest()


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"size_bytes": 3}', "\x00"])
def test_a_damaged_note_is_reported_and_replaced(
    text: str, counted: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "w.onnx"
    path.write_bytes(b"abc")
    note_path(path).write_text(text)
    with caplog.at_level(logging.WARNING):
        assert remembered_sha256(path) == hashlib.sha256(b"abc").hexdigest()
    assert "unreadable note" in caplog.text
    assert json.loads(note_path(path).read_text())["size_bytes"] == 3


def test_an_unwritable_folder_is_reported(
    counted: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "w.onnx"
    path.write_bytes(b"abc")

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")  # root may write anywhere, so the folder cannot say it

    monkeypatch.setattr(Path, "write_bytes", refuse)
    with caplog.at_level(logging.WARNING):
        assert remembered_sha256(path) == hashlib.sha256(b"abc").hexdigest()
    assert "cannot be remembered" in caplog.text
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_changes_while_it_is_read_leaves_no_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "w.onnx"
    path.write_bytes(b"abc")
    real = digests.sha256_of

    def growing(which: Path) -> str:
        digest = real(which)
        with which.open("ab") as file:
            file.write(b"more")
        return digest

    monkeypatch.setattr(digests, "WORTH_REMEMBERING_BYTES", 0)
    monkeypatch.setattr(digests, "sha256_of", growing)
    remembered_sha256(path)
    assert not note_path(path).exists()


def test_the_note_is_as_readable_as_the_weights(counted: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "w.onnx"
    path.write_bytes(b"abc")
    path.chmod(0o644)
    remembered_sha256(path)
    assert note_path(path).stat().st_mode & 0o777 == 0o644
