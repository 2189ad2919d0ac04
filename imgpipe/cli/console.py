"""The console: nothing that a name or a file says reaches the terminal as a control sequence or as markup."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable
from typing import Any

from rich import markup
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from imgpipe.cli.signals import end_without_reader

#: C0 but tab and newline, DEL, C1, marks that change the direction of text, separators, lone surrogates.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
_BREAKS = re.compile("[\t\n]")


def visible(text: str) -> str:
    """``text`` with control characters as Python writes them (``\\x1b``); tabs and newlines stay."""
    return _UNSEEN.sub(_as_python, text)


def escape(text: str) -> str:
    """One line for :class:`SafeConsole`: no control characters, no newlines, no markup."""
    return markup.escape(_BREAKS.sub(_as_python, visible(text)))


def _as_python(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()


class SafeConsole(Console):
    """rich's console without emoji codes; text of any origin comes out :func:`visible`."""

    def __init__(self, *, stderr: bool = False, **options: Any) -> None:
        super().__init__(stderr=stderr, highlight=False, soft_wrap=True, emoji=False, **options)

    def on_broken_pipe(self) -> None:
        """The reader has gone: no more is printed, and the command ends in order."""
        self.quiet = True
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.file.fileno())
        os.close(nowhere)
        end_without_reader()

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=visible(segment.text))


class SafeFormatter(logging.Formatter):
    """Log lines whose text is :func:`visible`."""

    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record))
