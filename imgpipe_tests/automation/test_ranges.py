"""Several partitions in one run: tables and checks belong to their own partition."""

from __future__ import annotations

from dagster import DagsterInstance

from imgpipe.partitions import add_partitions
from imgpipe.storage.manifests import list_shards, plan, read_manifest, seal
from imgpipe_tests.automation.conftest import QUIET, Site
from imgpipe_tests.automation.pictures import put


def test_a_range_run_checks_every_partition_by_itself(site: Site, instance: DagsterInstance) -> None:
    put(site.source, "a.png", "b.png", "c.png")
    (site.source / "bad.png").write_bytes(b"no image")
    output = site.stores.output
    seal(plan(site.stores.source, output, dataset="art", shard_size=2), output)
    add_partitions(site.settings, instance, list_shards(output, "art"))
    result = site.definitions.resolve_job_def("shard_job").execute_in_process(
        instance=instance,
        run_config=QUIET,
        tags={
            "dagster/asset_partition_range_start": "art-00000",
            "dagster/asset_partition_range_end": "art-00001",
        },
    )
    assert result.success
    found = {
        (one.partition, one.check_name): one
        for one in result.get_asset_check_evaluations()
        if one.asset_key.to_user_string() == "quality_reports"
    }
    assert {partition for partition, _ in found} == {"art-00000", "art-00001"}
    for shard in ("00000", "00001"):
        keys = [entry.source_key for entry in read_manifest(output, "art", shard).entries]
        assert found[f"art-{shard}", "no_errors"].passed is ("bad.png" not in keys), keys
        assert found[f"art-{shard}", "rows_conserved"].passed
    materialized = {
        event.partition for event in result.get_asset_materialization_events() if event.partition is not None
    }
    assert materialized == {"art-00000", "art-00001"}
