"""``ui``: starts the Dagster UI with the last run's instance."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from imgpipe.cli.common import err, exits, out
from imgpipe.cli.console import escape
from imgpipe.config import dagster_home, find_config_file, last_settings_file


@exits
def ui(
    port: Annotated[int, typer.Option(help="Port on the loopback interface.")] = 3000,
) -> None:
    """Open the Dagster UI (http://127.0.0.1:PORT) on the instance and settings of the last run."""
    from imgpipe.launch import check_instance

    check_instance()
    home, remembered = dagster_home(), last_settings_file()
    settings = find_config_file() or (remembered if remembered.is_file() else None)
    if settings is None:
        err.print("no settings yet: run `imgpipe demo` or `imgpipe run` first, or write an imgpipe.yaml")
    else:
        os.environ["IMGPIPE_CONFIG"] = str(settings.absolute())
        out.print(f"settings: {escape(str(settings))}")
    out.print(f"Dagster UI on http://127.0.0.1:{port}, instance {escape(str(home))}; stop it with Ctrl-C")
    _leave_folder()
    arguments = f"-P -m imgpipe.webserver dev -m imgpipe.definitions -h 127.0.0.1 -p {port}".split()
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, *arguments])  # noqa: S606


def _leave_folder() -> None:
    """Work in the interpreter's folder: Dagster reads modules and ``.env`` from the working directory.

    The folder may be a downloaded one. Relative paths in settings are still taken from it.
    """
    os.environ.setdefault("IMGPIPE_FOLDER", str(Path.cwd()))
    os.environ["PYTHONSAFEPATH"] = "1"  # For the processes that Dagster starts with `python -m`.
    os.chdir(sys.prefix)
