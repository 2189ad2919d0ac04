"""Speeds are compared by turns, and the least counts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from imgpipe.inference.cpu_speed import bf16_speedup, least_seconds


def test_the_least_of_several_turns_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    order: list[str] = []
    lasting: dict[str, Iterator[float]] = {"a": iter([9.0, 3.0, 2.0, 5.0]), "b": iter([1.0, 7.0, 7.0, 6.0])}

    def call(name: str) -> Callable[[], None]:
        def take() -> None:
            nonlocal now
            order.append(name)
            now += next(lasting[name])

        return take

    monkeypatch.setattr(time, "perf_counter", lambda: now)
    seconds = least_seconds({"a": call("a"), "b": call("b")}, turns=3)
    assert seconds == {"a": 2.0, "b": 6.0}, "the first turn is not counted"
    assert order == ["a", "b"] * 4


def test_this_machine_gives_one_answer() -> None:
    pytest.importorskip("torch")
    speedup = bf16_speedup()
    assert 0.001 < speedup < 100
    assert bf16_speedup() == speedup, "measured once"
