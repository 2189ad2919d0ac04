"""``run --watch``: looks at the source again and again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from imgpipe.cli.common import out
from imgpipe.cli.console import escape
from imgpipe.cli.plan import Planning, plan_of
from imgpipe.config import Settings
from imgpipe.storage.opening import open_stores


def rounds(
    settings: Settings, planning: Planning, seconds: float, sleep: Callable[[float], None] = time.sleep
) -> Iterator[bool]:
    """Ask for a run: once there is an image (true), and whenever the source has changed since (false).

    Never ends by itself; a source without any image is waited for. ``seconds``: between two looks.
    """
    stores = open_stores(settings, source_moved=planning.source_moved)
    first = True
    out.print(f"{escape(stores.source.url)}: looking again every {seconds:g} s, until Ctrl-C")
    while True:
        planned = plan_of(settings, stores, planning)
        if planned.shards and (first or planned.files):
            if not first:
                out.print(f"{time.strftime('%H:%M:%S')}: the source has changed")
            yield first
            first = False
        sleep(seconds)
