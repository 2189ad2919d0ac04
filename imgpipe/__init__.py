"""imgpipe: anime and illustration images matted, upscaled and scored, as Dagster assets."""

__version__ = "0.1.0"
