"""The report is rebuilt where tables or decisions have changed, and only there."""

from __future__ import annotations

from dagster import DagsterRun, DagsterRunStatus, RunRequest, SkipReason

from imgpipe.automation.report import REPORT_SCHEDULE
from imgpipe.storage.manifests import plan, seal
from imgpipe_tests.automation.conftest import Site
from imgpipe_tests.automation.pictures import put


def test_asked_for_once_per_change(site: Site) -> None:
    before = site.tick(REPORT_SCHEDULE)
    assert isinstance(before, SkipReason)
    assert before.skip_message == "no shard has been made yet"

    put(site.source, "a.png", "b.png")
    seal(plan(site.stores.source, site.stores.output, dataset="art", shard_size=2), site.stores.output)
    site.materialize_all()
    asked = site.tick(REPORT_SCHEDULE)
    assert isinstance(asked, RunRequest)

    site.instance.add_run(
        DagsterRun(job_name="report_job", status=DagsterRunStatus.FAILURE, tags=dict(asked.tags))
    )
    again = site.tick(REPORT_SCHEDULE)
    assert isinstance(again, RunRequest), "a run that failed has reported nothing"

    job = site.definitions.resolve_job_def("report_job")
    assert job.execute_in_process(instance=site.instance, tags=dict(again.tags)).success
    assert isinstance(site.tick(REPORT_SCHEDULE), SkipReason)

    put(site.source, "c.png")
    seal(plan(site.stores.source, site.stores.output, dataset="art", shard_size=2), site.stores.output)
    site.materialize_all()
    changed = site.tick(REPORT_SCHEDULE)
    assert isinstance(changed, RunRequest)
    assert changed.tags["imgpipe/signature"] != asked.tags["imgpipe/signature"]
