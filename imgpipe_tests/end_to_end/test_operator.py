"""An operator's morning in the real UI: a browser, the webserver, the daemon, and runs that they start."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from imgpipe.storage.opening import open_store
from imgpipe.storage.tables import read_table
from imgpipe_tests.end_to_end.incident import DATASET, FAILED_SHARDS, prepare
from imgpipe_tests.end_to_end.operator_steps import Operator
from imgpipe_tests.end_to_end.webserver import free_port, running
from imgpipe_tests.report.browser import missing_parts, open_browser

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(290)]


def test_failed_partitions_are_found_looked_at_and_backfilled(tmp_path: Path, instance_home: Path) -> None:
    if missing := missing_parts():
        pytest.skip(f"not installed: {', '.join(missing)}")
    incident = prepare(tmp_path)
    output = open_store(incident.settings.output, incident.settings.s3)
    port = free_port()
    command = [sys.executable, "-m", "imgpipe", "ui", "--port", str(port)]
    with (
        running(command, port, instance_home, tmp_path) as server,
        open_browser(tmp_path, (1440, 900)) as browser,
    ):
        Operator(browser, server, incident).work_through()
    for shard in FAILED_SHARDS:
        rows, _ = read_table(output, "quality_reports", DATASET, shard)
        assert len(rows) == 2
        assert {row.status.value for row in rows} <= {"ok", "rejected"}
