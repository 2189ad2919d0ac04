"""``ui``: starts the Dagster UI with the last run's instance."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from imgpipe.cli.common import err, exits, out
from imgpipe.config import find_config_file


@exits
def ui(
    port: Annotated[int, typer.Option(help="Port on the loopback interface.")] = 3000,
) -> None:
    """Open the Dagster UI (http://127.0.0.1:PORT) on the instance and settings of the last run."""
    from imgpipe.launch import check_instance, dagster_home

    check_instance()
    home = dagster_home()
    remembered = home / "imgpipe.yaml"
    if find_config_file() is None and remembered.is_file():
        os.environ["IMGPIPE_CONFIG"] = str(remembered)
    if find_config_file() is None:
        err.print("no settings yet: run `imgpipe demo` or `imgpipe run` first, or write an imgpipe.yaml")
    out.print(f"Dagster UI on http://127.0.0.1:{port}, instance {home}; stop it with Ctrl-C")
    arguments = ["-m", "dagster", "dev", "-m", "imgpipe.definitions", "-h", "127.0.0.1", "-p", str(port)]
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, *arguments])  # noqa: S606
