"""The command line within the test's own process."""

from __future__ import annotations

from typer.testing import CliRunner

from imgpipe.cli import app


def imgpipe(*arguments: object, columns: int | None = None) -> tuple[int, str]:
    """Exit code and everything printed; ``columns``: the screen's, where the environment's are not taken."""
    environment = {} if columns is None else {"COLUMNS": str(columns)}
    result = CliRunner().invoke(app, [*map(str, arguments)], env=environment, catch_exceptions=False)
    return result.exit_code, result.output
