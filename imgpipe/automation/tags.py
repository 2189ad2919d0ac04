"""Tags of the runs that are requested here: for the run queue's limits, filters in the UI, and ourselves."""

from __future__ import annotations

from imgpipe.config import Settings
from imgpipe.engines.status import State
from imgpipe.resources.retries import RETRIES_TAG

DATASET = "imgpipe/dataset"
#: What asked for the run: ``arrival``, ``backfill``, ``report``, ``retry`` or ``conditions``.
TRIGGER = "imgpipe/trigger"
#: Why: ``arrived``, or the shard's state.
WHY = "imgpipe/why"
#: Manifest, settings, models and code, as :class:`~imgpipe.engines.backfill.Candidate` has it; of a report
#: run, the tables that it was asked for.
SIGNATURE = "imgpipe/signature"
#: Estimated GPU time of the run, seconds.
GPU_SECONDS = "imgpipe/gpu_seconds"
_PRIORITY = "dagster/priority"

#: What the run queue takes first; a person's own runs have priority 0.
PRIORITIES = {
    "arrived": -1,
    State.MISSING.value: -2,
    State.STALE.value: -3,
    State.FAILED.value: -4,
}


def run_tags(settings: Settings, *, trigger: str, why: str) -> dict[str, str]:
    """The tags that every requested run has."""
    return {
        DATASET: settings.dataset,
        TRIGGER: trigger,
        WHY: why,
        RETRIES_TAG: str(settings.automation.infrastructure_retries),
        _PRIORITY: str(PRIORITIES[why]),
    }
