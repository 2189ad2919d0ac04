"""``files``: every file of one image."""

from __future__ import annotations

from typing import Annotated

import typer

from imgpipe.cli.common import dataset_settings, exits, out
from imgpipe.cli.console import escape
from imgpipe.engines.files import image_files
from imgpipe.storage.opening import open_store


@exits
def files(
    image_id: Annotated[str, typer.Argument(metavar="IMAGE_ID", help="As in the tables and the report.")],
    output: Annotated[str | None, typer.Option(help="Results: folder or s3://…")] = None,
    dataset: Annotated[str | None, typer.Option(help="Data set to search; default: all.")] = None,
) -> None:
    """List every file of an image with its kind and the asset that made it."""
    settings = dataset_settings({"output": output}, None, None)
    store = open_store(settings.output, settings.s3)
    for file in image_files(store, image_id, dataset):
        out.print(f"{file.kind:<18} {file.asset:<16} {escape(file.address)}")
