"""The code location: what ``dagster dev``, ``dg`` and ``imgpipe run`` load."""

from __future__ import annotations

from imgpipe.assets.graph import build_definitions
from imgpipe.automation.build import automated
from imgpipe.config import load_settings

_settings = load_settings()
defs = automated(build_definitions(_settings), _settings)
