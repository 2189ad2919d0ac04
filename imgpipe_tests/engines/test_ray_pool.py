"""The process that is connected to a Ray cluster, without Ray."""

from __future__ import annotations

from pathlib import Path

import pytest

from imgpipe.cli.plan import PLAIN
from imgpipe.cli.run import EVERYTHING, _begin_ahead
from imgpipe.config import Settings
from imgpipe.engines import ray_pool
from imgpipe.engines.ray_pool import connect_ahead
from imgpipe.engines.shard import run_shard
from imgpipe.engines.status import fingerprints
from imgpipe.settings import IsolationSettings, RaySettings, UpscaleSettings
from imgpipe.stages.build import build_stage
from imgpipe.stages.chain import steps
from imgpipe.storage.opening import open_stores
from imgpipe_tests.engines.levels import flat, replan


def test_a_process_connects_once_ahead_of_all_its_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    resting: dict[str, list[ray_pool._Driver]] = {}
    monkeypatch.setattr(ray_pool._Driver, "_idle", resting)
    monkeypatch.setattr(ray_pool, "_DRIVER_CODE", "import sys; sys.stdin.buffer.read()")
    monkeypatch.setattr(ray_pool, "find_spec", lambda name: name)
    for _ in range(3):  # Rounds of `imgpipe run --watch`.
        connect_ahead(RaySettings(address="local"))
    ((driver,),) = resting.values()
    driver.end()


def test_a_cluster_is_started_only_where_something_seems_due(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[str] = []
    monkeypatch.setattr(ray_pool, "connect_ahead", lambda settings: begun.append("cluster"))
    monkeypatch.setattr(ray_pool, "warm_up_workers", lambda settings, images: begun.append(f"for {images}"))
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "1.png").write_bytes(flat(1))
    settings = Settings(
        source=str(tmp_path / "source"),
        output=str(tmp_path / "output"),
        dataset="art",
        engine="ray",
        actions=("upscale",),
        upscale=UpscaleSettings(model="lanczos"),
        isolation=IsolationSettings(mode="none"),
    )
    local = settings.model_copy(update={"engine": "local"})

    def begin(settings: Settings) -> list[str]:
        begun.clear()
        _begin_ahead(settings, fingerprints(settings), EVERYTHING, PLAIN)
        return begun

    assert begin(settings) == ["cluster", "for 1"]  # Nothing is sealed.
    stores = open_stores(settings)
    replan(stores)
    assert begin(settings) == ["cluster", "for 1"]  # Nothing is made.
    for step in steps(local):
        run_shard(step, build_stage(step, local), local, stores, "00000")
    assert begin(settings) == []
    changed = settings.model_copy(update={"upscale": UpscaleSettings(model="lanczos", scale=2)})
    assert begin(changed) == ["cluster", "for 1"]
