"""``run --watch``: when it asks for a run."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from imgpipe.cli.plan import PLAIN, plan_of
from imgpipe.cli.watch import rounds
from imgpipe.config import load_settings
from imgpipe.storage.manifests import seal
from imgpipe.storage.opening import open_stores


def test_it_asks_where_the_source_has_changed_and_waits_for_the_first_image(tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    settings = load_settings({"source": str(source), "output": str(tmp_path / "out")})
    happens: Iterator[Callable[[], object]] = iter(
        (
            lambda: (source / "notes.txt").write_text("no image"),
            lambda: (source / "a.png").write_bytes(b"1"),
            lambda: None,
            lambda: (source / "a.png").write_bytes(b"12"),
            lambda: (source / "b.png").write_bytes(b"1"),
        )
    )
    slept: list[float] = []

    def ctrl_c() -> None:
        raise KeyboardInterrupt

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        next(happens, ctrl_c)()

    asked = []
    with contextlib.suppress(KeyboardInterrupt):
        for first in rounds(settings, PLAIN, 7.0, sleep):
            asked.append((len(slept), first))
            stores = open_stores(settings)
            seal(plan_of(settings, stores, PLAIN), stores.output)
    assert asked == [(2, True), (4, False), (5, False)]
    assert set(slept) == {7.0}
