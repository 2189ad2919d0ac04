"""``image`` and ``score``: single pictures, no Dagster."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from imgpipe.cli.common import EXIT_IMAGES, EXIT_OK, Assignments, dataset_settings, exits, out
from imgpipe.cli.console import escape
from imgpipe.cli.dataset import Actions, Model, Scale, settings_with_model
from imgpipe.config import Settings
from imgpipe.engines.shard import RowListener
from imgpipe.errors import ConfigError
from imgpipe.images.file_formats import EXTENSIONS, FILE_FORMATS, format_named
from imgpipe.records import ImageRow, Status
from imgpipe.single import (
    Processed,
    matte_errors_of,
    process_file,
    read_file,
    score_pictures,
    shown_as,
    write_file,
)
from imgpipe.stages.chain import steps


@exits
def image(
    source: Annotated[Path, typer.Argument(metavar="IN", help="Picture to process.")],
    target: Annotated[
        Path,
        typer.Argument(metavar="OUT", help="Result file, whose ending sets the format; or a folder."),
    ],
    actions: Actions = None,
    model: Model = None,
    scale: Scale = None,
    file_format: Annotated[
        str, typer.Option("--format", help="Format in a folder: png, webp, jpeg, tiff or jxl.")
    ] = "",
    assignments: Assignments = None,
    report: Annotated[Path | None, typer.Option(help="File to write quality.json to.")] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file with settings.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT where it exists.")] = False,
    only_mask: Annotated[
        bool, typer.Option("--only-mask", help="Write the alpha as a grey picture instead of the cutout.")
    ] = False,
    keep_rejected: Annotated[
        bool, typer.Option("--keep-rejected", help="Write a cutout that is not to be trusted all the same.")
    ] = False,
    background: Annotated[
        str | None, typer.Option(help="Composite the result over a colour (#ffffff) or a picture's file.")
    ] = None,
) -> None:
    """Process one picture without Dagster: the same stages, the same scores."""
    if source.is_dir():
        folders = shlex.join((str(source), str(target)))
        raise ConfigError(
            f"{source}: expected a picture, it is a folder; for all in it: imgpipe run {folders}"
        )
    given = {"actions": actions, "model": model, "scale": scale}
    settings = settings_with_model(given, assignments, config)
    target, encoding = _target(source, target, file_format, settings)
    _require_free(target, report, overwrite=overwrite)
    if only_mask and background is not None:
        raise ConfigError("--only-mask and --background exclude each other; give one of them")
    shown = only_mask or background is not None
    with _progress(settings) as on_row:
        done = process_file(source, settings, encoding, shown=shown, on_row=on_row)
    _print_notes(done.notes)
    reasons = [row.model.fallback_reason for row in done.rows.values() if row.model is not None]
    for reason in dict.fromkeys(filter(None, reasons)):
        out.print(f"[yellow]fallback:[/] {escape(reason)}")
    data = done.data
    if data is None:
        _print_failure(done.last)
        data = _rejected(done, keep=keep_rejected)
        shown = True
    if shown:
        data, notes = shown_as(data, encoding, settings, only_mask=only_mask, background=background)
        _print_notes(notes)
    write_file(target, data)
    if done.data is None:
        out.print(f"{escape(str(target))}: written all the same, {len(data):,} bytes")
        raise typer.Exit(EXIT_IMAGES)
    if report is not None:
        write_file(report, (json.dumps(done.document, indent=2) + "\n").encode())
    size = " x ".join(map(str, done.document["dimensions_after"]))
    out.print(f"{escape(str(target))}: {size}, {len(data):,} bytes")
    _print_verdict(done.document)
    raise typer.Exit(EXIT_OK if done.last.status is Status.OK else EXIT_IMAGES)


def _rejected(done: Processed, *, keep: bool) -> bytes:
    """The file that a stage rejected; without ``keep`` or where there is none, the command ends."""
    data = done.rejected_data
    if data is None or not keep:
        out.print("nothing was written" + ("; --keep-rejected writes it all the same" if data else ""))
        raise typer.Exit(EXIT_IMAGES)
    return data


def _require_free(target: Path, report: Path | None, *, overwrite: bool) -> None:
    for path in (target, report):
        if path is not None and path.exists() and not overwrite:
            raise ConfigError(f"{path} exists; choose another name or give --overwrite")
    if report is not None and report.resolve() == target.resolve():
        raise ConfigError(
            f"--report: {report} is OUT as well, and would replace the picture; give another name"
        )


@contextmanager
def _progress(settings: Settings) -> Iterator[RowListener]:
    """On a terminal, which step is under way, for as long as that takes."""
    chain = [step.action.name for step in steps(settings)]
    with out.status(chain[0]) as line:

        def next_step(asset: str, shard: str, row: ImageRow, computed: bool) -> None:
            chain.pop(0)
            line.update(chain[0] if chain else "")

        yield next_step


def _target(source: Path, target: Path, file_format: str, settings: Settings) -> tuple[Path, str]:
    """The result's file and its format; ``target`` may be a folder. Raises :class:`ConfigError` where it is
    the source itself, and where its ending means no format or another one than ``file_format``."""
    asked = format_named(file_format) if file_format else ""
    if target.is_dir():
        target = target / f"{source.stem}.{EXTENSIONS[asked or settings.files.format]}"
    found = FILE_FORMATS.get(target.suffix.lower())
    if found is None or asked not in ("", found):
        expected = f".{EXTENSIONS[asked]}" if asked else ", ".join(FILE_FORMATS)
        got = repr(target.suffix) if target.suffix else "none; if it is to be a folder, make it first"
        raise ConfigError(f"{target}: expected an ending of {expected}, got {got}")
    if target.resolve() == source.resolve():
        raise ConfigError(f"{target}: expected another place than the source; choose another OUT")
    return target, found


@exits
def score(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="Original picture.")],
    result: Annotated[Path, typer.Argument(metavar="RESULT", help="Processed picture, of any size.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print quality.json's object.")] = False,
    diff: Annotated[
        Path | None, typer.Option(help="PNG file to write the heat map of differences to.")
    ] = None,
    model: Annotated[
        str, typer.Option(help="What made RESULT, which decides the profile; default: what its XMP says.")
    ] = "",
    profile: Annotated[
        str | None,
        typer.Option(help="Set of thresholds: classical, lite, network, realesrgan, or a profile's file."),
    ] = None,
    assignments: Assignments = None,
    matte: Annotated[
        bool, typer.Option("--matte", help="SOURCE is the true matte: print the errors of RESULT's alpha.")
    ] = False,
) -> None:
    """Score RESULT against SOURCE; exit code 0 ok, 1 rejected.

    With --matte: S-measure, weighted F, boundary IoU, mean boundary accuracy and pixel accuracy; SAD, MSE,
    Grad and Conn (Rhemann et al. 2009), IoU and the error along the border. A picture's alpha is its matte;
    one without alpha is taken as a grey mask.
    """
    settings = dataset_settings({"quality.profile": profile}, assignments, None)
    if model and settings.quality.profile != "auto":
        raise ConfigError(
            f"--model: the profile is {settings.quality.profile} as configured; give one of both"
        )
    if matte:
        _print_matte_errors(matte_errors_of(source, result, settings), as_json=as_json)
        return
    before, after = ((read_file(path), str(path)) for path in (source, result))
    document, heat_map = score_pictures(before, after, settings, model)
    if diff is not None:
        write_file(diff, heat_map)
    if as_json:
        typer.echo(json.dumps(document, indent=2))
    else:
        out.print(f"profile {escape(document['profile'])}: {escape(document['profile_reason'])}")
        _print_verdict(document)
        for note in document["notes"]:
            out.print(f"note: {escape(note)}")
    raise typer.Exit(EXIT_OK if document["status"] == "ok" else EXIT_IMAGES)


def _print_matte_errors(errors: dict[str, float | None], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(errors, indent=2))
        return
    for name, value in errors.items():
        out.print(f"{name:<16} {_number(value)}")


def _print_notes(notes: Iterable[str]) -> None:
    for note in notes:
        out.print(f"note: {escape(note)}")


def _print_failure(row: ImageRow) -> None:
    out.print(f"[red]{row.status.value}[/] in {row.stage_failed}: {escape(row.why)}")


def _print_verdict(document: dict[str, Any]) -> None:
    colour = "green" if document["status"] == "ok" else "yellow"
    psnr = "identical" if document["identical"] else f"psnr {_number(document['psnr'])} dB"
    out.print(f"[{colour}]{document['status']}[/] {psnr}, ssim {_number(document['ssim'])}")
    for reason in document["reasons"]:
        out.print(f"  {escape(reason)}")


def _number(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.4f}"
