"""Fixtures: the folder with the profiles, and a PostgreSQL server from Debian's packages."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from imgpipe_tests.end_to_end.webserver import free_port

ROOT = Path(__file__).resolve().parents[2]
#: Where Debian keeps the programs of each version; they are not on the path.
_DEBIAN = Path("/usr/lib/postgresql")


@pytest.fixture(scope="session")
def profiles() -> Path:
    folder = ROOT / "deploy"
    if not folder.is_dir():
        pytest.skip("deploy/ is not part of this installation")
    return folder


@pytest.fixture(scope="module")
def postgres() -> Iterator[dict[str, str]]:
    """A server on loopback, as the environment that ``deploy/postgres/dagster.yaml`` reads."""
    pytest.importorskip("psycopg2", reason="needs the extra `postgres`")
    pytest.importorskip("dagster_postgres", reason="needs the extra `postgres`")
    programs = _programs()
    folder = Path(tempfile.mkdtemp(prefix="imgpipe-postgres-"))
    port = free_port()
    log = folder / "server.log"
    start = ["start", "--wait", "--pgdata", str(folder / "data"), "--log", str(log)]
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
    try:
        as_user = _as_unprivileged(folder)
        _call(
            [
                *as_user,
                programs["initdb"],
                "--pgdata",
                str(folder / "data"),
                "--username=imgpipe",
                "-A",
                "trust",
            ]
        )
        _call([*as_user, programs["pg_ctl"], *start, "--options", options], log)
        try:
            yield {
                "DAGSTER_PG_HOST": "127.0.0.1",
                "DAGSTER_PG_PORT": str(port),
                "DAGSTER_PG_USER": "imgpipe",
                "DAGSTER_PG_PASSWORD": "not asked for",
                "DAGSTER_PG_DB": "postgres",
            }
        finally:
            _call(
                [
                    *as_user,
                    programs["pg_ctl"],
                    "stop",
                    "--pgdata",
                    str(folder / "data"),
                    "--mode",
                    "immediate",
                ]
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def database(postgres: dict[str, str]) -> dict[str, str]:
    """The server with an empty database of this test's own."""
    import psycopg2

    name = f"test_{uuid.uuid4().hex}"
    connection = psycopg2.connect(
        host=postgres["DAGSTER_PG_HOST"],
        port=postgres["DAGSTER_PG_PORT"],
        user=postgres["DAGSTER_PG_USER"],
        dbname=postgres["DAGSTER_PG_DB"],
    )
    connection.autocommit = True  # CREATE DATABASE refuses a transaction.
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
    connection.close()
    return {**postgres, "DAGSTER_PG_DB": name}


def _programs() -> dict[str, str]:
    folders = [str(path / "bin") for path in sorted(_DEBIAN.glob("*"), reverse=True)]
    search = os.pathsep.join([*folders, os.environ.get("PATH", "")])
    found = {name: shutil.which(name, path=search) for name in ("initdb", "pg_ctl")}
    missing = [name for name, path in found.items() if path is None]
    if missing:
        pytest.skip(f"PostgreSQL's {' and '.join(missing)} not found; Debian: apt-get install postgresql")
    return {name: path for name, path in found.items() if path is not None}


def _as_unprivileged(folder: Path) -> list[str]:
    """PostgreSQL refuses to run as root: change the folder's owner; returns that user's command prefix."""
    if os.geteuid() != 0:
        return []
    if shutil.which("runuser") is None:
        pytest.skip("PostgreSQL does not run as root, and there is no runuser to become somebody else")
    for user in ("postgres", "nobody"):
        try:
            shutil.chown(folder, user)
        except LookupError:
            continue
        return ["runuser", "-u", user, "--"]
    pytest.skip("PostgreSQL does not run as root, and there is no user postgres or nobody")


def _call(command: list[str], log: Path | None = None) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/", timeout=120)
    said = log.read_text(errors="replace") if log is not None and log.is_file() else ""
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}{said}"
