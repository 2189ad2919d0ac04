"""How a run waits for a slot of a pool."""

from __future__ import annotations

import time

from dagster._core.execution.plan.instance_concurrency_context import InstanceConcurrencyContext

_METHOD = "interval_to_next_pending_claim_check"


def sleep_between_claims() -> None:
    """Have every run of this process that waits for a slot sleep until it asks for it again (1 to 15 s).

    Dagster 1.13 takes ``min(0, seconds until then)``: a run that waits turns in a loop and occupies a core
    for as long as the other works (dagster #20367, closed unmerged).
    """
    setattr(InstanceConcurrencyContext, _METHOD, _seconds_to_next_claim)


def _seconds_to_next_claim(context: InstanceConcurrencyContext) -> float:
    return max(0.0, min(context._pending_timeouts.values(), default=0.0) - time.time())
