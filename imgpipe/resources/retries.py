"""Retries of steps, after infrastructure failures only.

A bad image becomes an error row and never fails its step. A step fails because of the store or the cluster,
where a retry can help, or because of settings and models, where it cannot.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from dagster import RetryRequested

from imgpipe.errors import ClusterUnavailable, ConfigError, StoreUnavailable

#: Run tag: retries allowed per step, 0 without it (a person at a console sees the error at once).
RETRIES_TAG = "imgpipe/infrastructure_retries"
#: Wait before the first retry, seconds; doubled for each further one, at most :data:`_LONGEST_SECONDS`.
FIRST_WAIT_SECONDS = 10.0
_LONGEST_SECONDS = 600.0


@contextmanager
def infrastructure_retries(tags: Mapping[str, str], retry_number: int) -> Iterator[None]:
    """Turn :class:`StoreUnavailable` and :class:`ClusterUnavailable` of a step into a retry request, as often
    as the tags allow.

    ``retry_number``: number of retries so far (0 at first). Other errors, and these after the last retry, are
    raised unchanged.
    """
    said = tags.get(RETRIES_TAG, "0")
    if not said.isdecimal():
        raise ConfigError(f"tag {RETRIES_TAG}: expected a number of 0 or more, got {said!r}")
    allowed = int(said)
    try:
        yield
    except (StoreUnavailable, ClusterUnavailable) as exc:
        if retry_number >= allowed:
            raise
        raise RetryRequested(max_retries=allowed, seconds_to_wait=wait_seconds(retry_number)) from exc


def wait_seconds(retry_number: int) -> float:
    """10, 20, 40, ... seconds, at most ten minutes."""
    return min(FIRST_WAIT_SECONDS * 2.0**retry_number, _LONGEST_SECONDS)
