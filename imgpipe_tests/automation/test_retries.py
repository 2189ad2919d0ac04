"""Retries: of infrastructure failures only, with growing waits, as often as the run's tag allows."""

# No postponed annotations here: Dagster reads those of the functions that it decorates.

import pytest
from dagster import AssetExecutionContext, asset, materialize

from imgpipe.errors import ConfigError, DecodeError, ImgpipeError, StoreUnavailable, WeightsMissing
from imgpipe.resources import retries as module
from imgpipe.resources.retries import RETRIES_TAG, infrastructure_retries, wait_seconds


def run(error: ImgpipeError, heals_after: int, tags: dict[str, str]) -> tuple[int, bool]:
    """Number of tries of a step that raises ``error`` so many times, and whether it succeeded."""
    tried = 0

    @asset
    def made(context: AssetExecutionContext) -> None:
        nonlocal tried
        with infrastructure_retries(context.run.tags, context.retry_number):
            tried += 1
            if tried <= heals_after:
                raise error

    success = materialize([made], tags=tags, raise_on_error=False).success
    return tried, success


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_WAIT_SECONDS", 0.01)


@pytest.mark.parametrize(("heals_after", "expected"), [(0, (1, True)), (2, (3, True)), (9, (3, False))])
def test_a_store_that_comes_back_costs_retries_only(heals_after: int, expected: tuple[int, bool]) -> None:
    assert run(StoreUnavailable("away"), heals_after, {RETRIES_TAG: "2"}) == expected


@pytest.mark.parametrize("error", [WeightsMissing("x"), ConfigError("x"), DecodeError("x")])
def test_what_waiting_does_not_repair_fails_at_once(error: ImgpipeError) -> None:
    assert run(error, 1, {RETRIES_TAG: "2"}) == (1, False)


def test_without_the_tag_nobody_waits() -> None:
    assert run(StoreUnavailable("away"), 1, {}) == (1, False)


def test_waits_double_up_to_ten_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_WAIT_SECONDS", 10.0)
    assert [wait_seconds(number) for number in (0, 1, 2, 6, 20)] == [10, 20, 40, 600, 600]


def test_a_strange_tag_is_refused() -> None:
    strange = infrastructure_retries({RETRIES_TAG: "-1"}, 0)
    with pytest.raises(ConfigError, match="expected a number"):
        strange.__enter__()
