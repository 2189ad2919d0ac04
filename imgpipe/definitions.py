"""The code location: what ``dagster dev``, ``dg`` and ``imgpipe run`` load."""

from __future__ import annotations

from imgpipe.assets.graph import build_definitions
from imgpipe.config import load_settings

defs = build_definitions(load_settings())
