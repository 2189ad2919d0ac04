"""Fixtures of review."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from imgpipe.review import spending
from imgpipe_tests.review.messages_api import KEY, MessagesApi, messages_api


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[MessagesApi]:
    """The server, with address and key in the environment and nothing spent."""
    spending._spending.cache_clear()
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    with messages_api() as api:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", api.url)
        yield api
