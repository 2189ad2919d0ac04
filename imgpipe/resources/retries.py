"""Retries of steps after infrastructure failures, and only then.

A bad image is a row and never fails a step. What does fail one is either the store, which may come back, or
settings and models, which no waiting repairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from dagster import RetryRequested

from imgpipe.errors import ConfigError, StoreUnavailable

#: Run tag: retries allowed per step, 0 without it (a person at a console sees the error at once).
RETRIES_TAG = "imgpipe/infrastructure_retries"
#: Wait before the first retry, seconds; doubled for each further one, at most :data:`_LONGEST_SECONDS`.
FIRST_WAIT_SECONDS = 10.0
_LONGEST_SECONDS = 600.0


@contextmanager
def infrastructure_retries(tags: Mapping[str, str], retry_number: int) -> Iterator[None]:
    """Around a step's work: a :class:`StoreUnavailable` becomes a request to try again, as the tags allow.

    ``retry_number``: how often this step was tried again before (0 at first). After the last retry, and for
    every other error, the error itself passes.
    """
    said = tags.get(RETRIES_TAG, "0")
    if not said.isdecimal():
        raise ConfigError(f"tag {RETRIES_TAG}: expected a number of 0 or more, got {said!r}")
    allowed = int(said)
    try:
        yield
    except StoreUnavailable as exc:
        if retry_number >= allowed:
            raise
        raise RetryRequested(max_retries=allowed, seconds_to_wait=wait_seconds(retry_number)) from exc


def wait_seconds(retry_number: int) -> float:
    """10, 20, 40, ... seconds, at most ten minutes."""
    return min(FIRST_WAIT_SECONDS * 2.0**retry_number, _LONGEST_SECONDS)
