"""Fixtures of all tests."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from imgpipe.settings import S3Settings

ROOT = Path(__file__).resolve().parent.parent

# Tests and the processes that they start see no settings of the caller's environment. Not a fixture, because
# modules and fixtures of any scope read settings.
for _name in list(os.environ):
    if _name.startswith(("IMGPIPE_", "QUALITY_")) and not _name.startswith("IMGPIPE_TEST_"):
        del os.environ[_name]

#: Why tests that run the loops of ``imgpipe.upscaling.cpu`` are skipped.
NO_MATRIX_UNIT = "this CPU, kernel or compiler has no AMX-BF16"


@event.listens_for(Engine, "connect")
def _do_not_wait_for_the_disk(connection: object, record: object) -> None:
    """Commits of Dagster's SQLite databases return before the disk has them, which takes most of a run."""
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous=OFF")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say in one line how many tests the machine could not run."""
    skipped = terminalreporter.stats.get("skipped", [])
    count = sum(NO_MATRIX_UNIT in str(report.longrepr) for report in skipped)
    if count:
        terminalreporter.write_line(
            f"{count} tests of the matrix unit's loops were skipped: {NO_MATRIX_UNIT}"
        )


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real files beside the checkout; skips where it is absent."""
    path = ROOT.parent / "shared"
    if not (path / "data").is_dir():
        pytest.skip("../shared with the real images is not beside this checkout")
    return path


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working directory is an empty one."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Settings]:
    """An S3 server over HTTP on loopback: moto, or the one at IMGPIPE_TEST_S3_URL, which lets in
    IMGPIPE_TEST_S3_KEY with IMGPIPE_TEST_S3_SECRET."""
    if url := os.environ.get("IMGPIPE_TEST_S3_URL"):
        yield S3Settings(endpoint_url=url, region="us-east-1")
        return
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield S3Settings(endpoint_url=f"http://{host}:{port}", region="us-east-1")
    server.stop()


@pytest.fixture
def s3(s3_server: S3Settings, monkeypatch: pytest.MonkeyPatch) -> S3Settings:
    """Settings for the server, with credentials in the environment."""
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", os.environ.get("IMGPIPE_TEST_S3_KEY", "testing"))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", os.environ.get("IMGPIPE_TEST_S3_SECRET", "testing"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    return s3_server


@pytest.fixture
def bucket(s3: S3Settings, request: pytest.FixtureRequest) -> str:
    """A bucket of this test's own."""
    from imgpipe.storage.s3_client import s3_client

    name = "t-" + hashlib.sha256(f"{request.node.nodeid} {os.getpid()}".encode()).hexdigest()[:20]
    client: Any = s3_client(s3)
    client.create_bucket(Bucket=name)
    return name


@pytest.fixture
def s3_url(bucket: str, s3: S3Settings, monkeypatch: pytest.MonkeyPatch) -> str:
    """``s3://bucket`` on the server, with imgpipe's settings for it in the environment."""
    monkeypatch.setenv("IMGPIPE_S3__ENDPOINT_URL", str(s3.endpoint_url))
    monkeypatch.setenv("IMGPIPE_S3__REGION", str(s3.region))
    return f"s3://{bucket}"
