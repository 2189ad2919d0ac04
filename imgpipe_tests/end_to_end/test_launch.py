"""A run that waits for a slot of the pool says for what, and can be stopped."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from dagster import DagsterRun, DagsterRunStatus
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._core.utils import make_new_run_id

from imgpipe.config import load_settings
from imgpipe.engines.stop import STOP
from imgpipe.launch import Launcher, open_instance
from imgpipe.partitions import add_partitions
from imgpipe.resources.runs import process_tags
from imgpipe.storage.manifests import plan, seal
from imgpipe_tests.end_to_end.conftest import Workspace, write_drawing
from imgpipe_tests.matting.graphs import sigmoid_of, write_graph


class Enough(Exception):
    """As a signal's."""


def test_it_says_what_it_waits_for_and_ends_when_asked(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgpipe.assets.images.may_use_cuda", lambda setting: True)
    write_drawing(workspace.source, "a.png", seed=1)
    network = write_graph(tmp_path / "tiny.onnx", sigmoid_of(1, 1, 1), 32)
    place = {"source": workspace.source, "output": workspace.output, "dataset": "art"}
    settings = load_settings({**place, "actions": ["rembg"], "rembg.model": str(network)})
    stores = workspace.stores
    seal(plan(stores.source, stores.output, dataset="art", shard_size=10), stores.output)
    said: list[str] = []

    def listen(text: str) -> None:
        said.append(text)
        raise Enough

    holder = make_new_run_id()
    with open_instance() as instance:
        add_partitions(settings, instance, ["00000"])
        tags = {"dagster/partition": "art-00007", **process_tags(holder)}
        under_way = DagsterRunStatus.STARTED
        instance.add_run(DagsterRun(job_name="shard_job", run_id=holder, status=under_way, tags=tags))
        events = instance.event_log_storage
        assert isinstance(events, SqlEventLogStorage)
        events.set_concurrency_slots("gpu", 1)
        assert events.claim_concurrency_slot("gpu", holder, "matted_images").is_claimed
        launcher = Launcher(settings, instance, say=listen)
        try:
            with pytest.raises(Enough):
                launcher.run_shard("00000")
        finally:
            # A command ends here. In this process the run may ask for its slot again: it gets it and ends.
            waited = instance.get_runs(limit=1)[0]
            events.free_concurrency_slots_for_run(holder)
            (thread,) = (found for found in threading.enumerate() if found.name == "imgpipe-run")
            while thread.is_alive():
                events.assign_pending_steps(
                    ["gpu"]
                )  # Dagster overlooks a step that asks while a slot is freed.
                thread.join(1)
            STOP.clear()
        (text,) = said
        assert "waiting for a slot of the pool gpu (1 in all)" in text
        assert f"run {holder[:8]} of art-00007 (process " in text
        assert waited.status is DagsterRunStatus.CANCELED
        pool = events.get_concurrency_info("gpu")
        assert pool.pending_run_ids | pool.active_run_ids == set()
        assert launcher.run_shard("00000")
        assert instance.get_runs(limit=1)[0].status is DagsterRunStatus.SUCCESS
        assert len(said) == 1
