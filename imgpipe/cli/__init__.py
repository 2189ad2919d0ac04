"""The command line: registers the commands."""

from __future__ import annotations

import atexit
import os
import sys
from typing import Annotated

import typer

from imgpipe import __version__
from imgpipe.cli import (
    calibrate,
    compare,
    demo,
    doctor,
    export,
    files,
    fsck,
    image,
    models,
    plan,
    prune,
    review,
    run,
    serve,
    status,
    ui,
)
from imgpipe.cli.common import out
from imgpipe.cli.dataset import over_dataset
from imgpipe.cli.signals import INTERRUPTED

app = typer.Typer(
    name="imgpipe",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help=(
        "Anime and illustration images matted, upscaled and scored, as Dagster assets.\n\n"
        "Exit codes: 0 all images good; 1 finished, some images failed or were rejected; "
        "2 wrong use or configuration; 3 infrastructure failed; "
        "129, 130, 141, 143 interrupted by SIGHUP, Ctrl-C, a closed pipe, SIGTERM."
    ),
)


def _print_version(asked: bool) -> None:
    if asked:
        out.print(f"imgpipe {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version.")
    ] = False,
) -> None:
    pass


app.command("demo")(demo.demo)
app.command("run")(over_dataset(run.run))
app.command("plan")(over_dataset(plan.plan))
app.command("status")(over_dataset(status.status, of_last_run=True))
app.command("report")(over_dataset(run.report, of_last_run=True))
app.command("prune")(over_dataset(prune.prune, of_last_run=True))
app.command("files")(files.files)
app.command("export")(export.export)
app.command("fsck")(fsck.fsck)
app.command("image")(image.image)
app.command("score")(image.score)
app.command("compare")(compare.compare)
app.command("calibrate")(calibrate.calibrate)
app.add_typer(models.app, name="models")
app.add_typer(review.app, name="review")
app.command("doctor")(doctor.doctor)
app.command("ui")(ui.ui)
app.command("serve")(serve.serve)


def main() -> None:
    """Entry point of the ``imgpipe`` script."""
    end = _End()
    atexit.register(end.leave)  # Registered first, called last.
    try:
        app()
    except SystemExit as exc:
        end.code = exc.code
        if exc.code in INTERRUPTED:
            end.leave()  # Work in flight was given up: no thread is waited for.
        raise


class _End:
    """Ends the process by ``os._exit`` after all other exit handlers.

    Otherwise the interpreter takes two seconds to free torch's objects one by one.
    """

    def __init__(self) -> None:
        self.code: object = None

    def leave(self) -> None:
        if isinstance(self.code, int):  # Not after an exception: the interpreter still prints it.
            for stream in (sys.stdout, sys.stderr):
                if stream is not None:  # closed by the caller (>&-)
                    stream.flush()
            os._exit(self.code)
