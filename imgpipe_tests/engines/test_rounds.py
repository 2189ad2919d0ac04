"""Items given out in chunks, without Ray: whatever a pool loses, every image gets the row that it gets
here."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from imgpipe import host
from imgpipe.config import Settings
from imgpipe.engines.parcels import Bench, Order
from imgpipe.engines.ray_worker import Worker
from imgpipe.engines.rounds import Answer, Chunk, chunks_of
from imgpipe.engines.shard import ShardResult, run_shard
from imgpipe.errors import ClusterUnavailable, ConfigError, ImgpipeError, ModelMismatch, StoreUnavailable
from imgpipe.records import ImageRow, Status
from imgpipe.settings import IsolationSettings, RaySettings, UpscaleSettings
from imgpipe.stages.build import build_stage
from imgpipe.stages.catalogue import QUALITY
from imgpipe.stages.chain import steps
from imgpipe.storage.opening import open_stores
from imgpipe_tests.engines.levels import flat, replan

COUNT = 20


@dataclass
class Pool:
    """Workers in this process. ``deadly``: images whose worker is lost with all its chunk; ``faulty``: images
    after whose chunk the run is stopped by an error. ``sizes``: of the chunks of each round."""

    deadly: frozenset[str] = frozenset()
    faulty: frozenset[str] = frozenset()
    sizes: list[list[int]] = field(default_factory=list)
    packed: list[bytes] = field(default_factory=list)

    def of(self, order: Order, bench: Bench) -> Pool:
        self._order, self._bench = order, bench
        return self

    def __call__(self, chunks: Sequence[Chunk]) -> Generator[Answer, None, None]:
        self.sizes.append([len(chunk) for chunk in chunks])
        for chunk in reversed(chunks):
            names = {item.base.source_key for item in chunk}
            self.packed.append(self._bench.pack(chunk))
            if names & self.deadly:
                continue
            # Another process has other objects of everything.
            order = pickle.loads(pickle.dumps(self._order))  # noqa: S301
            answer = Worker(1).compute(order, self.packed[-1])
            if names & self.faulty:
                answer = replace(answer, error=StoreUnavailable("gone"))
            yield pickle.loads(pickle.dumps(answer))  # noqa: S301


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(host, "_share", [])  # Workers take one.
    (tmp_path / "source").mkdir()
    for level in range(COUNT):
        (tmp_path / "source" / f"{level:02}.png").write_bytes(flat(level))
    made = Settings(
        source=str(tmp_path / "source"),
        output=str(tmp_path / "ray"),
        dataset="art",
        actions=("upscale",),
        upscale=UpscaleSettings(model="lanczos"),
        isolation=IsolationSettings(mode="none"),
        engine="ray",
        ray=RaySettings(chunk=8),
    )
    replan(open_stores(made))
    return made


def run(settings: Settings, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> list[ShardResult]:
    monkeypatch.setattr("imgpipe.engines.shard.RayPool", pool.of)
    stores = open_stores(settings)
    return [
        run_shard(step, build_stage(step, settings), settings, stores, "00000") for step in steps(settings)
    ]


def facts(results: Sequence[ShardResult]) -> list[ImageRow]:
    """All rows without times, and without what holds times: the sum and size of quality.json."""
    rows = []
    for result in results:
        timed: dict[str, Any] = {"output_sha256": "", "size_bytes": 0} if result.asset == QUALITY else {}
        for row in result.rows:
            details = {name: value for name, value in row.details.items() if name != "model_load_seconds"}
            rows.append(replace(row, seconds={}, details=details, **timed))
    return rows


def pictures(folder: str) -> dict[str, str]:
    found = sorted(Path(folder).rglob("*.png"))
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in found
    }


def test_rows_and_files_are_those_of_the_local_engine(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = Pool()
    results = run(settings, pool, monkeypatch)
    assert pool.sizes == [[8, 8, 4]] * 3
    local = settings.model_copy(update={"engine": "local", "output": str(tmp_path / "local")})
    replan(open_stores(local))
    assert facts(results) == facts(run(local, Pool(), monkeypatch))
    assert len(pictures(settings.output)) == 2 * COUNT
    assert pictures(settings.output) == pictures(local.output)
    # Keys and rows, no pictures, and nothing of the other images.
    assert max(map(len, pool.packed)) < 8 * 4096
    assert all(b"IHDR" not in data for data in pool.packed)


def test_an_image_that_ends_its_worker_is_found_and_its_neighbours_are_not_lost(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = Pool(deadly=frozenset({"03.png"}))
    raw = run(settings, pool, monkeypatch)[0]
    assert pool.sizes[:2] == [[8, 8, 4], [1] * 8]
    assert {row.source_key for row in raw.rows if row.status is not Status.OK} == {"03.png"}
    (lost,) = [row for row in raw.rows if row.status is Status.ERROR]
    assert (lost.error_class, lost.attempts, lost.stage_failed) == ("WorkerLost", 1, "raw_images")
    # Transient: the next run tries it again, and it alone.
    again = run(settings, Pool(), monkeypatch)[0]
    assert (again.computed, again.counts["ok"], again.rows[3].attempts) == (1, COUNT, 2)


def test_the_last_chunks_are_small() -> None:
    chunks = chunks_of(range(300), 64)
    assert [number for chunk in chunks for number in chunk] == list(range(300))
    assert [len(chunk) for chunk in chunks] == [64, 59, 44, 33, 25, 18, 14, 10, 8, 8, 8, 8, 1]
    assert list(map(len, chunks_of(range(20), 2))) == [2] * 10


def test_where_no_worker_lives_nothing_is_blamed_on_the_images(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = Pool(deadly=frozenset(f"{level:02}.png" for level in range(COUNT)))
    with pytest.raises(ClusterUnavailable, match="every worker was lost"):
        run(settings, everything, monkeypatch)
    assert everything.sizes == [[8, 8, 4], [1] * COUNT]


def test_an_error_stops_the_run_and_what_was_answered_is_kept(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StoreUnavailable):
        run(settings, Pool(faulty=frozenset({"08.png"})), monkeypatch)
    raw = run(settings, Pool(), monkeypatch)[0]
    assert (raw.computed, raw.kept) == (8, 12)


def test_a_store_that_lets_two_hold_one_lease_is_refused(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgpipe.engines.shard.honours_conditional_writes", lambda store: False)
    pool = Pool()
    with pytest.raises(ConfigError, match="If-None-Match"):
        run(settings, pool, monkeypatch)
    assert pool.sizes == []


def order_for(settings: Settings, **other: str) -> Order:
    step = steps(settings)[1]
    made = Order(settings, step.asset, "00000", build_stage(step, settings).fingerprint, replaceable=False)
    return replace(made, **other)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("other", "kind", "said"),
    [
        ({"fingerprint": "f" * 64}, ModelMismatch, "the same version of imgpipe"),
        ({"shard": "00007"}, StoreUnavailable, "not there on the node"),
    ],
)
def test_a_worker_that_cannot_do_it_answers_with_the_reason(
    other: dict[str, str], kind: type[ImgpipeError], said: str, settings: Settings
) -> None:
    answer = Worker(1).compute(order_for(settings, **other), b"")
    assert answer.rows == ()
    assert isinstance(answer.error, kind)
    assert said in str(answer.error)


def test_a_parcel_that_a_worker_cannot_read_stops_the_run_with_the_reason(settings: Settings) -> None:
    answer = Worker(1).compute(order_for(settings), b"of another version")
    assert isinstance(answer.error, ClusterUnavailable)
    assert "a worker failed: UnpicklingError" in str(answer.error)


def test_a_worker_takes_its_share_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "_share", [])
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))
    Worker(2)
    assert (host.usable_cores(), host.share_of_memory()) == (2, 0.25)
