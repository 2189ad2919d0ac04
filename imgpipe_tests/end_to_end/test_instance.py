"""A place for Dagster's runs that cannot be used: one line, exit code 2 or 3, nothing sealed."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from imgpipe.launch import open_instance, remember_settings
from imgpipe.storage.local import LocalStore
from imgpipe_tests.end_to_end.conftest import CLASSICAL, Workspace, write_drawing


def a_file(home: Path) -> None:
    home.write_text("")


def below_a_file(home: Path) -> None:
    home.parent.rmdir()
    home.parent.write_text("")


def with_yaml(text: str) -> Callable[[Path], None]:
    def write(home: Path) -> None:
        home.mkdir()
        (home / "dagster.yaml").write_text(text)

    return write


def with_broken(database: str) -> Callable[[Path], None]:
    def damage(home: Path) -> None:
        with open_instance():
            pass
        (home / database).write_bytes(b"not a database" * 1000)

    return damage


def assert_refused(workspace: Workspace, code: int, said: str) -> None:
    found, text = workspace.cli("run", *CLASSICAL)
    assert found == code, text
    (line,) = text.splitlines()
    assert said in line
    assert "DAGSTER_HOME" in line
    assert not list(LocalStore(workspace.output).list())


@pytest.mark.parametrize(
    ("make", "code", "said"),
    [
        (a_file, 2, "FileExistsError"),
        (below_a_file, 2, "NotADirectoryError"),
        (with_yaml("run_monitoring: ["), 2, "dagster.yaml"),
        (with_yaml("just words"), 2, "dictionary"),
        (with_yaml("nobody_knows_this: 1"), 2, "nobody_knows_this"),
        (with_broken("history/runs.db"), 2, "not a database"),
        (with_broken("history/runs/index.db"), 2, "not a database"),
    ],
)
def test_what_cannot_be_an_instance(
    workspace: Workspace,
    instance_home: Path,
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[[Path], None],
    code: int,
    said: str,
) -> None:
    write_drawing(workspace.source, "a.png", seed=1)
    home = instance_home / "home"
    instance_home.mkdir()
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    make(home)
    assert_refused(workspace, code, said)


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own."""
    folder = tmp_path / "mounted"
    folder.mkdir()
    if os.geteuid() != 0 or _call("mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)):
        pytest.skip("this user may not mount a file system")
    yield folder
    os.chdir("/")
    assert _call("umount", str(folder)) == 0


def _call(*command: str) -> int:
    return subprocess.run(command, check=False, capture_output=True).returncode


def test_a_full_disk(workspace: Workspace, mounted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_drawing(workspace.source, "a.png", seed=1)
    (mounted / "other").write_bytes(bytes(1_900_000))
    monkeypatch.setenv("DAGSTER_HOME", str(mounted / "home"))
    assert_refused(workspace, 3, os.strerror(errno.ENOSPC))


def test_a_read_only_working_folder(
    workspace: Workspace, mounted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_drawing(workspace.source, "a.png", seed=1)
    assert _call("mount", "-o", "remount,ro", str(mounted)) == 0
    monkeypatch.chdir(mounted)
    monkeypatch.delenv("DAGSTER_HOME")
    assert_refused(workspace, 2, os.strerror(errno.EROFS))


def test_a_database_that_fails_in_the_middle_is_one_line_too(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_drawing(workspace.source, "a.png", seed=1)
    with open_instance() as instance:
        storage = type(instance.run_storage)
    from sqlite3 import OperationalError as SqliteError

    from sqlalchemy.exc import OperationalError

    def fail(*_: object) -> None:
        raise OperationalError("INSERT", {}, SqliteError("disk I/O error"))

    monkeypatch.setattr(storage, "add_run", fail)
    code, text = workspace.cli("run", *CLASSICAL)
    assert code == 3, text
    assert text.splitlines()[-1].startswith("StoreUnavailable: ")
    assert "disk I/O error" in text.splitlines()[-1]


def test_settings_are_remembered_where_the_instance_is(workspace: Workspace, instance_home: Path) -> None:
    assert remember_settings(workspace.settings) == instance_home / "imgpipe.yaml"
