"""The sensor that ends runs whose process is gone, so that neither queue nor pools wait for them."""

# No postponed annotations here: Dagster reads those of the functions that it decorates.

from dagster import DefaultSensorStatus, SensorDefinition, SensorEvaluationContext, SkipReason, sensor

from imgpipe.config import Settings
from imgpipe.resources.naming import named
from imgpipe.resources.runs import ALIVE_SECONDS, end_dead_runs

DEAD_RUNS_SENSOR = "dead_runs_sensor"


def build_dead_runs_sensor(settings: Settings) -> SensorDefinition:
    """It starts no runs, and is on from the start."""

    @sensor(
        name=named(settings, DEAD_RUNS_SENSOR),
        minimum_interval_seconds=int(ALIVE_SECONDS),
        default_status=DefaultSensorStatus.RUNNING,
        description="Marks runs as failed whose process was killed or whose machine is gone, and frees their "
        "slots of pools.",
    )
    def dead_runs_sensor(context: SensorEvaluationContext) -> SkipReason:
        ended = end_dead_runs(context.instance)
        return SkipReason("\n".join(ended) or "every run that is under way has a process")

    return dead_runs_sensor
