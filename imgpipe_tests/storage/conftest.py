"""The three stores, each empty, for the tests of this room."""

from __future__ import annotations

from pathlib import Path

import pytest

from imgpipe.storage.local import LocalStore
from imgpipe.storage.memory import MemoryStore
from imgpipe.storage.s3 import S3Store
from imgpipe.storage.s3_client import s3_client
from imgpipe.storage.store import ImageStore


@pytest.fixture(params=["local", "memory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ImageStore:
    """Each kind of store in turn."""
    if request.param == "local":
        return LocalStore(tmp_path)
    if request.param == "memory":
        return MemoryStore()
    return S3Store(request.getfixturevalue("bucket"), "some/prefix", s3_client(request.getfixturevalue("s3")))
