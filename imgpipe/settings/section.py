"""Base class of all sections of the settings."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Base of every section: frozen, and unknown keys are refused."""

    # Inputs are named by imgpipe's own messages; tracebacks of pydantic would show secrets in wrong places.
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, hide_input_in_errors=True)


class ActionSection(Section):
    """Settings of an action: the name of such a field of ``Settings`` is the action's name in ``actions``."""

    @property
    def runs_network(self) -> bool:
        """Whether these settings ask for a neural network, and with it for a GPU where there is one."""
        return False


def suggest(name: str, known: Mapping[str, Any] | set[str]) -> str:
    """A hint for a message: the nearest known name, or all of them."""
    close = difflib.get_close_matches(name, list(known), n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    return "valid names: " + ", ".join(sorted(known))
