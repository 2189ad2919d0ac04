"""``models list | pull | verify``: the weights files."""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import DownloadColumn, Progress, TaskID, TransferSpeedColumn

from imgpipe.cli.common import EXIT_OK, EXIT_USAGE, exits, out, settings_from
from imgpipe.cli.console import escape
from imgpipe.inference.download import pull as pull_weights
from imgpipe.inference.download import verify as verify_weights
from imgpipe.inference.weights import REGISTRY, check_licence, registered

app = typer.Typer(help="Weights files: names, licences, sizes, digests, paths.", no_args_is_help=True)

ModelDir = Annotated[
    Path | None, typer.Option("--model-dir", help="Folder of the weights; default: IMGPIPE_MODEL_DIR.")
]
_COLOURS = {"ok": "green", "missing": "yellow", "corrupt": "red"}


def _folder(model_dir: Path | None) -> Path:
    return model_dir if model_dir is not None else settings_from({}).model_dir


class Order(StrEnum):
    """What ``models list`` is sorted by."""

    TASK = "task"
    NAME = "name"
    LICENCE = "licence"
    SIZE = "size"


@app.command("list")
@exits
def list_models(
    model_dir: ModelDir = None,
    sort: Annotated[
        Order, typer.Option(help="What comes first; `licence`: those that are free for commercial use.")
    ] = Order.TASK,
) -> None:
    """Every registered model with its licence, size, digests and state on this machine."""
    folder = _folder(model_dir)
    field = "size_bytes" if sort is Order.SIZE else sort.value
    in_order = sorted(REGISTRY.values(), key=attrgetter(field))
    for weights in sorted(in_order, key=lambda one: sort is Order.LICENCE and not one.commercial):
        path = weights.path(folder)
        present = "in the package:" if weights.shipped else "present"
        state = f"[green]{present}[/]" if path.is_file() else "[yellow]missing[/]"
        out.print(f"[bold]{weights.name}[/] ({weights.task}, {weights.network})")
        use = "commercial use free" if weights.commercial else "[red]no free commercial use[/]"
        out.print(f"  {weights.licence} ({use}), {escape(weights.authors)}")
        size = f"{weights.size_bytes:,} bytes" if weights.size_bytes else "of a size that no source states"
        out.print(f"  {state} {escape(str(path))}, {size}")
        out.print(f"  {weights.digests}")
        if weights.md5:
            out.print("  rembg's source states md5 alone: size and sha256 are those of public copies")
        if weights.notes:
            out.print(f"  {escape(weights.notes)}")
    out.print("without weights: `classical` (matting), `lanczos`, `bicubic` (upscaling)")


@app.command()
@exits
def pull(
    names: Annotated[list[str] | None, typer.Argument(help="Model names; default: the two defaults.")] = None,
    model_dir: ModelDir = None,
) -> None:
    """Download weights from their official addresses, resuming, and verify size and sha256."""
    settings = settings_from({})
    folder = model_dir if model_dir is not None else settings.model_dir
    wanted = names or ["isnet-anime", "realesrgan-anime-6b"]
    for name in wanted:
        check_licence(registered(name), settings.models.allowed_licences)
    columns = (*Progress.get_default_columns(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=out) as progress:
        for name in wanted:
            weights = REGISTRY[name]
            bar = progress.add_task(name, total=weights.size_bytes)
            path = pull_weights(
                weights,
                folder,
                on_progress=partial(_advance, progress, bar),
            )
            progress.update(bar, completed=weights.size_bytes)
            where = "in the package, " if weights.shipped else ""
            progress.console.print(f"{name}: verified, {where}{escape(str(path))}")


def _advance(progress: Progress, bar: TaskID, done: int, total: int) -> None:
    progress.update(bar, completed=done, total=total)


@app.command()
@exits
def verify(model_dir: ModelDir = None) -> None:
    """Check the size and sha256 of every file that is present; exit code 2 where one is corrupt."""
    states = verify_weights(_folder(model_dir))
    for state in states:
        colour = _COLOURS[state.state]
        out.print(
            f"[{colour}]{state.state:<8}[/] {state.name}: {escape(str(state.path))} {escape(state.detail)}"
        )
    raise typer.Exit(EXIT_USAGE if any(state.state == "corrupt" for state in states) else EXIT_OK)
