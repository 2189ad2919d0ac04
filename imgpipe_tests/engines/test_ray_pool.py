"""The process that is connected to a Ray cluster, without Ray."""

from __future__ import annotations

import pytest

from imgpipe.engines import ray_pool
from imgpipe.engines.ray_pool import connect_ahead
from imgpipe.settings import RaySettings


def test_a_process_connects_once_ahead_of_all_its_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    resting: dict[str, list[ray_pool._Driver]] = {}
    monkeypatch.setattr(ray_pool._Driver, "_idle", resting)
    monkeypatch.setattr(ray_pool, "_DRIVER_CODE", "import sys; sys.stdin.buffer.read()")
    monkeypatch.setattr(ray_pool, "find_spec", lambda name: name)
    for _ in range(3):  # Rounds of `imgpipe run --watch`.
        connect_ahead(RaySettings(address="local"))
    ((driver,),) = resting.values()
    driver.end()
