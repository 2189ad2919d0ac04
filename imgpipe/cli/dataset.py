"""The options of commands over a data set, and the settings that they stand for."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Concatenate, ParamSpec

import typer

from imgpipe.cli.common import (
    Assignments,
    ConfigFile,
    DatasetName,
    config_or_last_run,
    dataset_settings,
    with_options,
)
from imgpipe.config import Settings
from imgpipe.errors import ConfigError

P = ParamSpec("P")

Actions = Annotated[
    str | None,
    typer.Option(
        help=f"Of {', '.join(Settings.action_names())}: in order, comma-separated. Default: the setting."
    ),
]
Model = Annotated[
    str | None,
    typer.Option(help="Model of the only action that has one, else of upscale: a name or a file."),
]
Scale = Annotated[float | None, typer.Option(help="Output size / input size, as in upscale.scale.")]
FileFormat = Annotated[
    str | None,
    typer.Option("--format", help="Of cutouts and enlargements: png, webp, jxl or jpeg (files.format)."),
]


def over_dataset(
    action: Callable[Concatenate[Settings, P], int], *, of_last_run: bool = False
) -> Callable[..., None]:
    """A command over the data set that its options name; ``of_last_run``: else over the last run's."""

    @functools.wraps(_named)
    def build(**options: Any) -> Settings:
        given, assignments, config = _named(**options)
        config = config_or_last_run(given, assignments, config) if of_last_run else config
        return settings_with_model(given, assignments, config)

    return with_options(build, action)


def _named(
    source_argument: Annotated[
        str | None, typer.Argument(metavar="[SOURCE]", help="Source images: folder or s3://…")
    ] = None,
    output_argument: Annotated[
        str | None, typer.Argument(metavar="[OUTPUT]", help="Results: folder or s3://…")
    ] = None,
    source: Annotated[str | None, typer.Option("--source", "-i", help="In place of SOURCE.")] = None,
    output: Annotated[str | None, typer.Option("--output", "-o", help="In place of OUTPUT.")] = None,
    actions: Actions = None,
    model: Model = None,
    scale: Scale = None,
    file_format: FileFormat = None,
    config: ConfigFile = None,
    dataset: DatasetName = None,
    shard_size: Annotated[int | None, typer.Option(help="Images per partition.")] = None,
    engine: Annotated[str | None, typer.Option(help="What runs a stage over a shard: local or ray.")] = None,
    assignments: Assignments = None,
) -> tuple[dict[str, Any], list[str] | None, Path | None]:
    given = {
        "source": _one_of("source", source_argument, source),
        "output": _one_of("output", output_argument, output),
        "actions": actions,
        "model": model,
        "scale": scale,
        "files.format": file_format,
        "dataset": dataset,
        "shard_size": shard_size,
        "engine": engine,
    }
    return given, assignments, config


def _one_of(name: str, argument: str | None, option: str | None) -> str | None:
    if None not in (argument, option) and argument != option:
        raise ConfigError(
            f"{name.upper()} and --{name}: given twice with different values ({argument!r} and {option!r}); "
            "keep one"
        )
    return option if argument is None else argument


def settings_with_model(
    given: dict[str, Any], assignments: list[str] | None, config: Path | None
) -> Settings:
    """As :func:`dataset_settings`, of options that may name a ``model`` and a ``scale``.

    Raises :class:`ConfigError` where no action, or more than one, could be meant.
    """
    plain = {key: value for key, value in given.items() if key not in ("model", "scale")}
    settings = dataset_settings(plain, assignments, config)
    model, scale = given.get("model"), given.get("scale")
    if model is None and scale is None:
        return settings
    if model is not None:
        plain[f"{_action_of_model(settings.actions)}.model"] = model
    if scale is not None and "upscale" not in settings.actions:
        raise ConfigError(
            f"--scale: expected upscale among the actions, which are {', '.join(settings.actions)}"
        )
    return dataset_settings(plain | {"upscale.scale": scale}, assignments, config)


def _action_of_model(actions: tuple[str, ...]) -> str:
    if len(actions) == 1 or "upscale" in actions:
        return actions[0] if len(actions) == 1 else "upscale"
    raise ConfigError(
        f"--model: of {' or '.join(actions)}? expected one action, or upscale among them; "
        f"say which, as in --set {actions[0]}.model=…"
    )
