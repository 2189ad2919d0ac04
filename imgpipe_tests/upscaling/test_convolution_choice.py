"""The faster convolutions are taken, if they may be."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import pytest

from imgpipe.upscaling import convolution_choice
from imgpipe.upscaling.amx_instructions import amx_is_usable
from imgpipe.upscaling.convolution_choice import Convolution, fastest_convolution, fastest_esrgan

Timed = Callable[[bool, float], list[set[str]]]


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> Timed:
    """``timed(amx, seconds)``: with AMX or not, Winograd takes ``seconds``, torch 1; gives what was timed."""

    def pretend(amx: bool, seconds: float) -> list[set[str]]:
        compared: list[set[str]] = []

        def least_seconds(calls: Mapping[str, Callable[[], object]]) -> dict[str, float]:
            compared.append(set(calls))
            return {name: 1.0 if name == "backend" else seconds for name in calls}

        monkeypatch.setattr(convolution_choice, "least_seconds", least_seconds)
        monkeypatch.setattr(convolution_choice, "amx_is_usable", lambda: amx)
        return compared

    return pretend


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """No answer comes from another test, or stays for one."""
    fastest_convolution.cache_clear()
    yield
    fastest_convolution.cache_clear()


@pytest.mark.parametrize(
    ("precision", "may_be_fp32", "amx", "expected"),
    [
        ("bf16", True, True, "amx"),
        ("bf16", False, True, "amx"),
        ("bf16", True, False, "winograd"),
        ("bf16", False, False, "backend"),
        ("fp32", True, True, "winograd"),
        ("fp32", True, False, "winograd"),
    ],
)
def test_what_is_faster_is_taken(
    precision: str, may_be_fp32: bool, amx: bool, expected: Convolution, timed: Timed
) -> None:
    compared = timed(amx, 0.5)
    assert fastest_convolution(precision, may_be_fp32) == expected
    assert compared == ([{"backend", "winograd"}] if expected == "winograd" else [])


def test_hardly_faster_is_not_enough(timed: Timed) -> None:
    timed(False, 0.95)
    assert fastest_convolution("bf16", True) == "backend"
    assert fastest_convolution("fp32", True) == "backend"


def test_this_machine_gives_an_answer() -> None:
    assert fastest_convolution("fp32", True) in ("backend", "winograd")
    assert fastest_convolution("bf16", False) == ("amx" if amx_is_usable() else "backend")


@pytest.mark.parametrize("amx", [True, False])
def test_esrgan_is_by_the_matrix_unit_in_bf16(amx: bool, timed: Timed) -> None:
    timed(amx, 1.0)
    assert fastest_esrgan("bf16") == ("amx" if amx else "backend")
    assert fastest_esrgan("fp32") == "backend"
