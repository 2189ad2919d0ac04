"""From settings to a reviewer. The SDK is imported only when it is asked for."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable

from imgpipe.errors import ConfigError, PackagesMissing
from imgpipe.review.claude import KEY_VARIABLE, ClaudeReviewer
from imgpipe.review.own_checks import ChecksReviewer
from imgpipe.review.reviewers import Reviewer
from imgpipe.review.spending import spending_of
from imgpipe.settings import ReviewSettings


def build_reviewer(settings: ReviewSettings, check: Callable[[], None] = lambda: None) -> Reviewer | None:
    """The configured reviewer, ``None`` where review is off. Asking it needs :func:`require_reviewer`.

    ``check``: called before every request; its exception ends the review.
    """
    if not settings.enabled:
        return None
    if settings.reviewer == "checks":
        return ChecksReviewer()
    return ClaudeReviewer(settings, spending_of(settings.model_dump_json()), check)


def require_reviewer(settings: ReviewSettings) -> None:
    """Raise where the configured reviewer cannot be asked here, before anything is done.

    :class:`PackagesMissing` without the SDK, :class:`ConfigError` without a usable key.
    """
    if not settings.enabled or settings.reviewer != "claude":
        return
    if importlib.util.find_spec("anthropic") is None:
        raise PackagesMissing(
            "review.reviewer: claude needs the package anthropic: pip install 'imgpipe[review]', "
            "or --set review.reviewer=checks"
        )
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        found = "something that is no key" if key else "nothing"
        raise ConfigError(
            f"review.reviewer: claude expects an API key in the environment variable {KEY_VARIABLE}, got "
            f"{found}; set it there (keys are read from nowhere else), or --set review.reviewer=checks"
        )


def reviewer_identity(settings: ReviewSettings) -> str:
    """What a table records of the reviewer; empty where review is off."""
    reviewer = build_reviewer(settings)
    return "" if reviewer is None else reviewer.identity
