"""What is left to do, from the states and the measured times of shards."""

from __future__ import annotations

from pathlib import Path

import pytest

from imgpipe.config import load_settings
from imgpipe.engines.status import ShardStatus, State, seconds_left
from imgpipe.stages.chain import steps


def test_seconds_left_follow_the_mean_and_what_runs_side_by_side(tmp_path: Path) -> None:
    quick = {"actions": "upscale", "upscale.model": "lanczos", "workers": 1, "model_dir": tmp_path}
    settings = load_settings(quick)
    assets = [step.asset for step in steps(settings)]

    def shard(state: State, images: int, **more: object) -> ShardStatus:
        return ShardStatus("00000", images, dict.fromkeys(assets, state), {"error": 2}, **more)  # type: ignore[arg-type]

    # Two images took 3 s in each of three assets: 1.5 s an image, 4.5 s all in all.
    done = shard(State.COMPLETE, 2, compute=dict.fromkeys(assets, (2, 3.0)))
    assert seconds_left(settings, [done]) == 0
    assert seconds_left(settings, [done, shard(State.MISSING, 10)]) == pytest.approx(45)
    assert seconds_left(settings, [done, shard(State.STALE, 10, deleted=4)]) == pytest.approx(27)
    assert seconds_left(settings, [done, shard(State.FAILED, 10)]) == pytest.approx(9)
    assert seconds_left(settings, [shard(State.MISSING, 10)]) is None, "nothing was measured"
