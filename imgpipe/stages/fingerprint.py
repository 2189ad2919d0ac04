"""What makes two results of a stage the same: settings, weights and code, without loading a network."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def saved_as(made: str, format: str) -> str:  # noqa: A002 -- as encode calls it
    """The fingerprint of a stage that makes what ``made`` says and writes it in this format.

    PNG, which was the only one once, changes nothing.
    """
    return made if format == "PNG" else fingerprint(format, 1, {"made": made})


def fingerprint(stage: str, code_version: int, parts: Mapping[str, Any]) -> str:
    """sha256 (hex) over a stage's name, its code version and everything that changes its pixels."""
    text = json.dumps([stage, code_version, parts], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
