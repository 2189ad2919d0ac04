"""``compare``: several models on a sample of the user's own pictures, one page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from imgpipe.bakeoff.candidates import Candidate, candidates_of
from imgpipe.cli.common import EXIT_IMAGES, EXIT_OK, Assignments, ConfigFile, dataset_settings, exits, out
from imgpipe.cli.console import escape
from imgpipe.errors import ConfigError
from imgpipe.metrics.truth import TRUTH
from imgpipe.records import Status
from imgpipe.single import write_file

if TYPE_CHECKING:
    from imgpipe.report.bakeoff import Bakeoff


@exits
def compare(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Pictures: folder or s3://…")],
    page: Annotated[Path, typer.Argument(metavar="PAGE.html", help="The page to write.")],
    action: Annotated[Literal["rembg", "upscale"], typer.Option(help="What the models do.")] = "rembg",
    model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODEL[,KEY=VALUE ...]",
            help="A candidate: a name or a file as in the setting `model`, and other settings of the action, "
            "as in net.onnx,contract=isnet. Give it once for each.",
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="Pictures, at most.")] = 12,
    seed: Annotated[int, typer.Option(help="Another seed draws other pictures.")] = 0,
    truth: Annotated[
        str,
        typer.Option(help="What results should be: folder or s3://…, files named by the pictures' paths."),
    ] = "",
    assignments: Assignments = None,
    config: ConfigFile = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace PAGE.html where it exists.")
    ] = False,
) -> None:
    """Compare mattes or upscalers on a sample of pictures: sliders, scores, seconds, memory, cost.

    Every candidate runs in a process of its own, one picture at a time. Exit code 0 finished, 1 a candidate
    could not make a picture.
    """
    # Not above: pandas, which these need, takes as long as all other imports of the command line together.
    from imgpipe.bakeoff.compare import Wanted
    from imgpipe.bakeoff.compare import compare as run_bakeoff
    from imgpipe.report.bakeoff import render_bakeoff

    if page.exists() and not overwrite:
        raise ConfigError(f"{page} exists; choose another name or give --overwrite")
    settings = dataset_settings({}, assignments, config)
    candidates = candidates_of(model or [], action, settings)
    wanted = Wanted(source, action, limit, seed, truth)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=out, transient=not out.is_terminal) as progress:
        bars = {one.text: progress.add_task(escape(one.label), total=limit) for one in candidates}

        def show(candidate: Candidate, answer: Mapping[str, Any]) -> None:
            progress.advance(bars[candidate.text])
            if answer["status"] == Status.ERROR:
                progress.console.print(f"[red]error[/] {escape(candidate.label)}: {escape(answer['why'])}")

        done = run_bakeoff(wanted, candidates, settings, show)
    write_file(page, render_bakeoff(done).encode("utf-8", "replace"))
    _print_table(done)
    out.print(f"page: {escape(str(page.absolute()))}")
    raise typer.Exit(EXIT_IMAGES if done.failures else EXIT_OK)


def _print_table(done: Bakeoff) -> None:
    """The candidates, the best first."""
    from imgpipe.report.bakeoff import summarise

    first = TRUTH[done.action][0]
    table = Table(box=None)
    for heading in ("candidate", "ok", "rejected", "error", first.label, "s", "MP/s", "peak MB"):
        table.add_column(heading, justify="left" if heading == "candidate" else "right")
    for row in summarise(done):
        numbers = (row["truth"].get(first.name), row["seconds"], row["megapixels_per_second"], row["peak_mb"])
        table.add_row(
            escape(done.entrants[row["entrant"]].label),
            *(str(row["counts"][name]) for name in ("ok", "rejected", "error")),
            *("–" if value is None else f"{value:.4g}" for value in numbers),
        )
    out.print(table)
