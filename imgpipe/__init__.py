"""imgpipe: anime and illustration images matted, upscaled and scored, as Dagster assets.

From Python: ``matte``, ``upscale``, ``score`` and ``process`` for single pictures, ``dataset_definitions``
for a data set in another Dagster project (:mod:`imgpipe.api`).
"""

import importlib
from typing import Any

__version__ = "0.1.0"
__all__ = ["Result", "dataset_definitions", "matte", "process", "score", "upscale"]


def __getattr__(name: str) -> Any:
    """What :data:`__all__` names, imported when it is asked for: `import imgpipe` loads nothing else."""
    if name in __all__:
        return getattr(importlib.import_module("imgpipe.api"), name)
    raise AttributeError(f"module 'imgpipe' has no attribute {name!r}")
