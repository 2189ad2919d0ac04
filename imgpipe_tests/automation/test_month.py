"""A month of arrivals, a changed setting, a crash: at the end every result exists exactly once."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from dagster import AssetCheckKey, AssetKey, DagsterEventType, RunRequest, SkipReason

from imgpipe.errors import StoreUnavailable
from imgpipe.records import ImageRow, Status
from imgpipe.resources import retries
from imgpipe.stages.catalogue import QUALITY
from imgpipe.storage.local import LocalStore
from imgpipe_tests.automation.conftest import Site
from imgpipe_tests.automation.pictures import put
from imgpipe_tests.storage.manifests import read_manifests

ASSETS = ("raw_images", "upscaled_images", "quality_reports")


@dataclass(frozen=True)
class Calendar:
    """What happens on which day; a day of ``changed`` or ``deleted`` -> the day whose picture it is."""

    days: int
    setting: int
    crash: int
    bad: tuple[int, ...]
    changed: Mapping[int, int]
    deleted: Mapping[int, int]
    copied: int
    late: int
    repaired: int
    back: int


FORTNIGHT = Calendar(14, 10, 12, (4, 6), {8: 3, 11: 7}, {5: 2, 9: 1}, 7, 7, 11, 13)
MONTH = Calendar(
    30, 20, 25, (4, 14, 24), {8: 3, 17: 12, 26: 21}, {9: 2, 18: 11, 27: 20}, 12, 15, repaired=22, back=23
)


@dataclass
class Month:
    """``truth``: how each source should end. ``computed``: how often each thing was computed.

    ``lost``: what the crashed run had computed and could not commit. ``versions``: every sealed
    (source, etag); ``finished``: those of them that quality_reports had an outcome for.
    """

    site: Site
    monkeypatch: pytest.MonkeyPatch
    calendar: Calendar
    truth: dict[str, Status] = field(default_factory=dict)
    computed: Counter[tuple[str, str, str, str]] = field(default_factory=Counter)
    lost: set[tuple[str, str, str, str]] = field(default_factory=set)
    versions: set[tuple[str, str]] = field(default_factory=set)
    finished: set[tuple[str, str]] = field(default_factory=set)
    runs: Counter[str] = field(default_factory=Counter)
    partitions: set[str | None] = field(default_factory=set)
    crash_next: bool = False

    def arrive(self, day: int) -> None:
        """What happens to the source on this day."""
        source, calendar = self.site.source, self.calendar
        name = f"day{day:02d}"
        self._good(f"{name}/a.png")
        if day % 3 == 0:
            self._good(f"{name}/b.png")
        if day in calendar.bad:
            (source / name / "bad.png").write_bytes(b"" if day == calendar.bad[0] else b"<html>404</html>")
            self.truth[f"{name}/bad.png"] = Status.ERROR
        if day in calendar.changed:  # Other bytes under an old name.
            put(source, f"day{calendar.changed[day]:02d}/a.png", seed=1000 + day)
        if day in calendar.deleted:
            gone = f"day{calendar.deleted[day]:02d}/a.png"
            (source / gone).unlink()
            self.truth[gone] = Status.SKIPPED
        if day == calendar.copied:  # The same bytes under another name.
            (source / name / "copy.png").write_bytes((source / name / "a.png").read_bytes())
            self.truth[f"{name}/copy.png"] = Status.OK
        if day == calendar.late:  # An old time, and a name before all others.
            self._good("an-old-one.png")
            os.utime(source / "an-old-one.png", (1, 1))
        if day == calendar.repaired:
            self._good(f"day{calendar.bad[1]:02d}/bad.png")
        if day == calendar.back:
            self._good("day02/a.png")

    def sense(self) -> None:
        for request in self.site.sense(self.monkeypatch).run_requests or ():
            self._run(request)
        for manifest in read_manifests(self.site.stores.output, "art"):
            self.versions |= {(entry.source_key, entry.etag) for entry in manifest.entries if entry.present}

    def backfill(self) -> int:
        """One tick of the schedule; number of runs it requested."""
        requests = self.site.schedule()
        if isinstance(requests, SkipReason):
            return 0
        assert len(requests) <= self.site.settings.automation.max_partitions_per_tick
        for request in requests:
            self._run(request)
        return len(requests)

    def _good(self, name: str) -> None:
        put(self.site.source, name)
        self.truth[name] = Status.OK

    def _run(self, request: RunRequest) -> None:
        heard: list[tuple[str, str, str, str]] = []

        def listen(asset: str, shard: str, row: ImageRow, computed: bool) -> None:
            if asset == QUALITY:
                self.finished.add((row.source_key, row.etag))
            if computed:
                heard.append((asset, row.source_key, row.etag, row.stage_hash))

        new = request.partition_key not in self.partitions
        crashing, self.crash_next = self.crash_next and new, self.crash_next and not new
        self.partitions.add(request.partition_key)
        self.site.on_row = listen
        with self.monkeypatch.context() as patched:
            if crashing:
                patched.setattr(LocalStore, "write", _failing_write())
            result = self.site.run("shard_job", str(request.partition_key), request.tags, raises=not crashing)
        assert result.success is not crashing
        self.runs[request.tags["imgpipe/why"]] += 1
        self.computed.update(heard)
        if crashing:
            self.lost |= {what for what in heard if what[0] == "upscaled_images"}
        evaluations = result.get_asset_check_evaluations()
        assert crashing or evaluations
        assert {one.partition for one in evaluations} <= {request.partition_key}


def _failing_write() -> Any:
    """A store that fails at the second picture."""
    original = LocalStore.write
    pictures = 0

    def write(self: LocalStore, key: str, data: bytes, *, overwrite: bool = False) -> None:
        nonlocal pictures
        pictures += key.startswith("upscaled/")
        if pictures >= 2:
            raise StoreUnavailable("the disk has gone")
        original(self, key, data, overwrite=overwrite)

    return write


@pytest.mark.parametrize(
    "calendar", [FORTNIGHT, pytest.param(MONTH, marks=pytest.mark.slow)], ids=["fortnight", "month"]
)
def test_a_month(calendar: Calendar, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.configure(
        **{
            "shard_size": 4,
            "automation.max_wait_seconds": 2 * 86_400,
            "automation.max_partitions_per_tick": 4,
            "automation.objects_per_tick": 15,
        }
    )
    monkeypatch.setattr(retries, "FIRST_WAIT_SECONDS", 0.01)
    month = Month(site, monkeypatch, calendar)
    for day in range(1, calendar.days + 1):
        month.arrive(day)
        if day == calendar.setting:
            site.configure(**{"upscale.model": "bicubic"})
        month.crash_next |= day == calendar.crash  # It waits for a partition that was never made.
        for _ in range(3):  # Looks of 15 sources: a round takes up to three of them.
            month.sense()
            site.later(hours=6)
        if day % 5 == 0:
            month.backfill()
        site.later(hours=6)
    _settle(month)
    assert not month.crash_next, "the crash did not happen"
    _assert_every_source_has_one_outcome(month)
    _assert_nothing_was_computed_twice(month)
    _assert_checks_belong_to_their_partitions(site)
    assert month.runs["stale"] >= 3
    assert month.runs["missing"] >= 1, "the crashed partition was not made again"


def _settle(month: Month) -> None:
    """The last arrivals become due, and the schedule runs until it requests nothing."""
    for _ in range(4):
        month.site.later(days=1)
        month.sense()
    ticks = 0
    while month.backfill():
        ticks += 1
        assert ticks < 20, "the schedule does not come to rest"


def _assert_every_source_has_one_outcome(month: Month) -> None:
    manifests = read_manifests(month.site.stores.output, "art")
    entries = [entry for manifest in manifests for entry in manifest.entries]
    assert Counter(entry.source_key for entry in entries) == Counter(list(month.truth))
    for asset in ASSETS:
        rows = month.site.rows(asset)
        assert {key: row.status for key, row in rows.items()} == month.truth, asset
        assert {key: row.etag for key, row in rows.items()} == {e.source_key: e.etag for e in entries}
    assert month.finished >= month.versions, sorted(month.versions - month.finished)


def _assert_nothing_was_computed_twice(month: Month) -> None:
    twice = {what for what, times in month.computed.items() if times > 1}
    assert twice <= month.lost, sorted(twice - month.lost)
    assert all(times <= 2 for times in month.computed.values())
    settings = {hash_ for asset, _, _, hash_ in month.computed if asset == "upscaled_images"}
    assert len(settings) > len(month.truth), "the changed setting did not redo the pictures"
    assert {row.model.name for row in month.site.rows("upscaled_images").values() if row.model} == {"bicubic"}


def _assert_checks_belong_to_their_partitions(site: Site) -> None:
    key = AssetCheckKey(AssetKey(QUALITY), "rows_conserved")
    history = site.instance.event_log_storage.get_asset_check_execution_history(key, limit=500)
    latest: dict[str, Any] = {}
    for record in history:  # Newest first.
        event = record.event.dagster_event if record.event else None
        if event is not None and event.event_type is DagsterEventType.ASSET_CHECK_EVALUATION:
            evaluation = event.asset_check_evaluation_data
            assert evaluation.partition is not None
            latest.setdefault(evaluation.partition, evaluation)
    expected = {f"art-{m.shard}": len(m.entries) for m in read_manifests(site.stores.output, "art")}
    assert set(latest) == set(expected)
    for partition, evaluation in latest.items():
        assert evaluation.passed
        assert evaluation.metadata["counts"].value["n"] == expected[partition]
