"""Fixtures of review."""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from imgpipe.review import spending
from imgpipe_tests.review.messages_api import KEY, MessagesApi, messages_api


@pytest.fixture
def sleeps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the SDK would have waited between attempts, seconds."""
    waits: list[float] = []
    monkeypatch.setattr(
        "anthropic._base_client.time", SimpleNamespace(**{**vars(time), "sleep": waits.append})
    )
    return waits


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch, sleeps: list[float]) -> Iterator[MessagesApi]:
    """The server, with address and key in the environment, nothing spent, and no waits."""
    spending.spending_of.cache_clear()
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    with messages_api() as api:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", api.url)
        yield api
