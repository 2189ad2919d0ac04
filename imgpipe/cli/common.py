"""Shared by all commands: options, the console, and exit codes of errors."""

from __future__ import annotations

import functools
import inspect
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Concatenate, ParamSpec, TypeVar

import typer

from imgpipe.cli.console import SafeConsole, SafeFormatter, escape
from imgpipe.cli.signals import Interrupted, interruptible
from imgpipe.config import (
    LOG_LEVEL,
    REFUSED,
    Settings,
    find_config_file,
    found_file_naming_others,
    last_settings_file,
    load_settings,
)
from imgpipe.errors import (
    DISK_FAULTS,
    ClusterUnavailable,
    ConfigError,
    DeviceFault,
    ImgpipeError,
    ModelError,
    StorageError,
)
from imgpipe.names import dataset_name_from
from imgpipe.settings.given import parse_assignments
from imgpipe.storage.manifests import list_datasets
from imgpipe.storage.opening import open_store
from imgpipe.storage.store import ImageStore

P = ParamSpec("P")
R = TypeVar("R")

EXIT_OK, EXIT_IMAGES, EXIT_USAGE, EXIT_INFRASTRUCTURE = 0, 1, 2, 3

out = SafeConsole()
err = SafeConsole(stderr=True)

Assignments = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any setting, as in upscale.scale=2.")
]
SourceUrl = Annotated[str | None, typer.Option(help="Source images: folder or s3://…")]
OutputUrl = Annotated[str | None, typer.Option(help="Results: folder or s3://…")]
ConfigFile = Annotated[
    Path | None, typer.Option(help="YAML file; default: IMGPIPE_CONFIG, else ./imgpipe.yaml.")
]
DatasetName = Annotated[
    str | None, typer.Option(help="Name of the data set; default: made from the source's name.")
]
AllowDeletions = Annotated[
    bool,
    typer.Option(
        "--allow-deletions",
        help="Sources that are gone were deleted, more than limits.max_deleted_share too.",
    ),
]
SourceMoved = Annotated[
    bool,
    typer.Option("--source-moved", help="The data set's source is the same as before, at another address."),
]


@contextmanager
def printing_to_stderr() -> Iterator[None]:
    """What ``out`` prints goes to stderr; stdout is left for one result that programs read."""
    out.stderr = True
    try:
        yield
    finally:
        out.stderr = False


def exit_code_of(error: ImgpipeError) -> int:
    """2 for settings and models, 3 for storage, clusters and devices that fail, 1 for errors of an image."""
    if isinstance(error, StorageError | ClusterUnavailable | DeviceFault):
        return EXIT_INFRASTRUCTURE
    return EXIT_USAGE if isinstance(error, ConfigError | ModelError) else EXIT_IMAGES


def exits(command: Callable[P, R]) -> Callable[P, R]:
    """Print an error of imgpipe as one message and exit with the code of its kind, or of a signal."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        handler = logging.StreamHandler()
        handler.setFormatter(SafeFormatter("%(levelname)s %(name)s: %(message)s"))
        logging.basicConfig(level=logging.WARNING, handlers=[handler])
        try:
            _set_log_level()
            with interruptible():
                return command(*args, **kwargs)
        except Interrupted as exc:
            raise typer.Exit(exc.exit_code) from exc
        except ImgpipeError as exc:
            # Lines are our own only where settings are refused; elsewhere they come from a name.
            lines = str(exc).split("\n") if str(exc).startswith(REFUSED) else [str(exc)]
            err.print(f"[bold red]{type(exc).__name__}[/]: " + "\n".join(map(escape, lines)))
            raise typer.Exit(exit_code_of(exc)) from exc
        except OSError as exc:
            if exc.errno not in DISK_FAULTS:
                raise
            place = exc.filename or "the output or a temporary file"
            err.print(
                f"[bold red]{type(exc).__name__}[/]: {escape(f'{place}: {exc.strerror}; check the disk')}"
            )
            raise typer.Exit(EXIT_INFRASTRUCTURE) from exc

    return wrapped


def _set_log_level() -> None:
    level = os.environ.get(LOG_LEVEL, "").upper()
    if level not in ("", "DEBUG", "INFO", "WARNING", "ERROR"):
        raise ConfigError(f"{LOG_LEVEL}: expected DEBUG, INFO, WARNING or ERROR, got {level!r}")
    if level:
        logging.getLogger("imgpipe").setLevel(level)


def with_options(build: Callable[..., R], action: Callable[Concatenate[R, P], int]) -> Callable[..., None]:
    """A command with the options of ``build``, and those that ``action`` takes beside what that returns.

    It ends with the exit code of ``action``. All options are annotated with typer's.
    """
    shared = inspect.signature(build, eval_str=True).parameters
    _, *own = inspect.signature(action, eval_str=True).parameters.values()

    @exits
    def command(**options: Any) -> None:
        built = build(**{name: options.pop(name) for name in shared})
        run_on: Callable[..., int] = action
        raise typer.Exit(run_on(built, **options))

    command.__doc__ = action.__doc__
    parameters = [one.replace(kind=one.KEYWORD_ONLY) for one in (*shared.values(), *own)]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return command


def dataset_settings(
    given: Mapping[str, Any], assignments: list[str] | None, config: Path | None
) -> Settings:
    """Settings from a command's named options (those that were given) and its assignments."""
    overrides: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    assigned = parse_assignments(assignments or [])
    for key in overrides.keys() & assigned.keys():
        if overrides[key] != assigned[key]:
            raise ConfigError(
                f"{key} and --set {key}: given twice with different values ({overrides[key]!r} and "
                f"{assigned[key]!r}); keep one"
            )
    return settings_from(overrides | assigned, config)


def config_or_last_run(
    given: Mapping[str, Any], assignments: list[str] | None, config: Path | None
) -> Path | None:
    """``config``, or the settings of the last run where nothing names an output; says so on stderr."""
    last = last_settings_file()
    if config is not None or find_config_file() is not None or not last.is_file():
        return config
    if dataset_settings({"output": given.get("output")}, assignments, None).output:
        return None
    err.print(f"settings of the last run: {escape(str(last))}")
    return last


def results_settings(
    given: Mapping[str, Any], assignments: list[str] | None = None, config: Path | None = None
) -> tuple[Settings, ImageStore]:
    """Settings of a command that reads results, and the opened output.

    Without an output, a file or IMGPIPE_CONFIG they are those of the last run; the data set is the only one
    there where none is named.
    """
    config = config_or_last_run(given, assignments, config)
    settings = dataset_settings(given, assignments, config)
    store = open_store(settings.output, settings.s3)
    if "dataset" not in settings.model_fields_set and not settings.source:
        settings = settings.model_copy(update={"dataset": only_dataset(store)})
    return settings, store


def only_dataset(store: ImageStore) -> str:
    """The one data set at a store; raises :class:`ConfigError` where there are none or several."""
    names = list_datasets(store)
    if len(names) != 1:
        there = ", ".join(names) or "none"
        raise ConfigError(f"--dataset: expected the name of a data set at {store.url}; there are: {there}")
    return names[0]


def settings_from(overrides: Mapping[str, Any], config: Path | None = None) -> Settings:
    """Settings from a command's arguments over environment and file; paths are made absolute
    for the UI, which has another working directory."""
    settings = load_settings(overrides, config=config, folder=Path())
    if config is None:
        _say_found_file()
    if "dataset" not in settings.model_fields_set and settings.source:
        return settings.model_copy(update={"dataset": dataset_name_from(settings.source)})
    return settings


@functools.cache
def _say_found_file() -> None:
    """Once: settings of the working directory decide which files are read and written."""
    path = found_file_naming_others()
    if path is not None:
        err.print(f"settings: ./{path}")
