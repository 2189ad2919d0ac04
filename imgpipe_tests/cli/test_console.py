"""What names and files say reaches the terminal as text."""

from __future__ import annotations

import io
import logging
from typing import Any

import pytest
import typer
from rich.progress import Progress, TextColumn
from rich.table import Table
from rich.text import Text

from imgpipe.cli.common import err, exits, out
from imgpipe.cli.console import SafeConsole, SafeFormatter, escape
from imgpipe.errors import DecodeError

#: A name that clears the screen, sets the title, forges a line, turns text around and is not UTF-8.
HOSTILE = "a\x1b[2J\x1b]0;title\x07\x9b31m\nINFO: forged\r\u202egnp.\u2066 :boom: [red]x[/red] \udcff\x7f.png"
SEEN = r"a\x1b[2J\x1b]0;title\x07\x9b31m\nINFO: forged\r\u202egnp.\u2066 :boom: [red]x[/red] \udcff\x7f.png"


def _printed(what: object, **options: Any) -> str:
    stream = io.StringIO()
    SafeConsole(file=stream, width=300, **options).print(what)
    return stream.getvalue()


@pytest.mark.parametrize("terminal", [False, True])
def test_a_name_is_one_line_of_text(terminal: bool) -> None:
    options: dict[str, Any] = {"force_terminal": terminal, "color_system": None}
    assert _printed(escape(HOSTILE), **options) == SEEN + "\n"
    table = Table(box=None, show_header=False, padding=0)
    table.add_row(escape(HOSTILE))
    assert _printed(table, **options).strip() == SEEN


def test_what_was_not_escaped_is_no_control_sequence_either() -> None:
    """Markup and newlines are then the text's own, as in a message of several lines."""
    for what in ("a\x1b[2J\x9b1m\nb", Text("a\x1b[2J\x9b1m\nb")):
        assert _printed(what) == "a\\x1b[2J\\x9b1m\nb\n"
    assert _printed("[red]x[/] :boom:") == "x :boom:\n"
    stream = io.StringIO()
    console = SafeConsole(file=stream, width=80, force_terminal=True)
    with Progress(TextColumn("{task.description}"), console=console) as progress:
        progress.add_task("at\x1b]0;title\x07work")
    assert "\x1b]" not in stream.getvalue()
    assert "\x1b[?25l" in stream.getvalue(), "the bar's own sequences pass"


def test_errors_and_logs(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise DecodeError(f"{HOSTILE}: damaged")

    with pytest.raises(typer.Exit):
        exits(fail)()
    assert capsys.readouterr().err == f"DecodeError: {SEEN}: damaged\n"
    record = logging.LogRecord("x", logging.WARNING, "", 0, "%s", (HOSTILE,), None)
    assert "\x1b" not in SafeFormatter().format(record)
    assert isinstance(out, SafeConsole)
    assert isinstance(err, SafeConsole)


def test_the_level_of_the_log_is_named_in_the_environment(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log = logging.getLogger("imgpipe")
    monkeypatch.setattr(log, "level", log.level)  # Put back afterwards.
    levels = []
    for name in ("", "info"):
        monkeypatch.setenv("IMGPIPE_LOG_LEVEL", name)
        exits(lambda: levels.append(log.getEffectiveLevel()))()
    assert levels[0] > levels[1] == logging.INFO
    monkeypatch.setenv("IMGPIPE_LOG_LEVEL", "loud")
    with pytest.raises(typer.Exit) as caught:
        exits(levels.clear)()
    assert caught.value.exit_code == 2
    assert "IMGPIPE_LOG_LEVEL: expected DEBUG, INFO, WARNING or ERROR, got 'LOUD'" in capsys.readouterr().err
