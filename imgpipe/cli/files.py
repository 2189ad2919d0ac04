"""``files``: every file of one image."""

from __future__ import annotations

from typing import Annotated

import typer

from imgpipe.cli.common import config_or_last_run, dataset_settings, exits, out
from imgpipe.cli.console import escape
from imgpipe.engines.files import image_files
from imgpipe.storage.opening import open_store


@exits
def files(
    image: Annotated[
        str, typer.Argument(metavar="IMAGE", help="Path below the source, as in the report, or image_id.")
    ],
    output: Annotated[str | None, typer.Option(help="Results: folder or s3://…")] = None,
    dataset: Annotated[str | None, typer.Option(help="Data set to search; default: all.")] = None,
) -> None:
    """List every file of an image with its kind and the asset that made it."""
    given = {"output": output}
    settings = dataset_settings(given, None, config_or_last_run(given, None, None))
    store = open_store(settings.output, settings.s3)
    for file in image_files(store, image, dataset):
        out.print(f"{file.kind:<18} {file.asset:<16} {escape(file.address)}")
