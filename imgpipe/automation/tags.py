"""Tags of requested runs, for the run queue's limits, filters in the UI, and imgpipe itself."""

from __future__ import annotations

from imgpipe.config import Settings
from imgpipe.engines.status import State
from imgpipe.resources.retries import RETRIES_TAG

DATASET = "imgpipe/dataset"
#: What requested the run: ``arrival``, ``backfill``, ``report``, ``retry`` or ``conditions``.
TRIGGER = "imgpipe/trigger"
#: Why: ``arrived``, or the shard's state.
WHY = "imgpipe/why"
#: Digest of manifest, settings, models and code (:class:`~imgpipe.engines.backfill.Candidate`); for a report
#: run, digest of its tables.
SIGNATURE = "imgpipe/signature"
#: Estimated GPU time of the run, seconds.
GPU_SECONDS = "imgpipe/gpu_seconds"
_PRIORITY = "dagster/priority"

#: Priorities in the run queue; runs that a person starts have 0.
PRIORITIES = {
    "arrived": -1,
    State.MISSING.value: -2,
    State.STALE.value: -3,
    State.FAILED.value: -4,
}


def trigger_tags(settings: Settings, trigger: str) -> dict[str, str]:
    """The tags of every run of image assets that a person does not start."""
    retries = str(settings.automation.infrastructure_retries)
    return {DATASET: settings.dataset, TRIGGER: trigger, RETRIES_TAG: retries}


def run_tags(settings: Settings, *, trigger: str, why: str) -> dict[str, str]:
    """The tags that every requested run has."""
    return {**trigger_tags(settings, trigger), WHY: why, _PRIORITY: str(PRIORITIES[why])}
