"""Metadata of every asset in the UI: owners, freshness, and links to its code."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from dagster import (
    CodeReferencesMetadataValue,
    FreshnessPolicy,
    LocalFileCodeReference,
    UrlCodeReference,
)
from dagster_shared.utils.warnings import BetaWarning

import imgpipe
from imgpipe.config import Settings

_PACKAGE = Path(imgpipe.__file__).resolve().parent


def owners(settings: Settings) -> list[str]:
    """The configured owners."""
    return list(settings.assets.owners)


def freshness(settings: Settings) -> FreshnessPolicy | None:
    """How old a materialization may be; ``None`` where nothing is configured."""
    hours = settings.assets.fresh_within_hours
    return None if hours is None else FreshnessPolicy.time_window(fail_window=timedelta(hours=hours))


def code_references(settings: Settings, *places: type | Callable[..., Any]) -> dict[str, Any]:
    """Asset metadata with a link per place, to ``assets.code_url`` or to the installed file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BetaWarning)
        references = [_reference(place, settings.assets.code_url) for place in places]
        return {"dagster/code_references": CodeReferencesMetadataValue(code_references=references)}


def _reference(
    place: type | Callable[..., Any], code_url: str | None
) -> LocalFileCodeReference | UrlCodeReference:
    path = Path(inspect.getsourcefile(place) or inspect.getfile(place)).resolve()
    line = inspect.getsourcelines(place)[1]
    name = path.relative_to(_PACKAGE.parent).as_posix()
    if code_url is None:
        return LocalFileCodeReference(file_path=str(path), line_number=line, label=name)
    return UrlCodeReference(url=f"{code_url.rstrip('/')}/{name}#L{line}", label=name)
