"""The code location: what ``dagster dev``, ``dg`` and ``imgpipe run`` load."""

from __future__ import annotations

from imgpipe.automation.build import dataset_definitions
from imgpipe.config import load_settings

defs = dataset_definitions(load_settings())
