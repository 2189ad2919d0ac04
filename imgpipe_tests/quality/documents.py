"""quality.json against its published schema."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import jsonschema

SCHEMA: dict[str, Any] = json.loads(files("imgpipe.quality").joinpath("quality.schema.json").read_bytes())


def validate(document: Mapping[str, Any], schema: Mapping[str, Any] = SCHEMA) -> None:
    """Raises :class:`jsonschema.ValidationError` for the field that best explains what is wrong."""
    problem = jsonschema.exceptions.best_match(jsonschema.Draft202012Validator(schema).iter_errors(document))
    if problem is not None:
        raise problem
