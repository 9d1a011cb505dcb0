"""The monitoring pipeline: from logged requests and late labels to one decision."""

from kfp import dsl

from components.drift.component import drift
from pipelines.definitions import monitoring_steps


@dsl.pipeline(name="perennial-monitoring", description="From logged requests and late labels to one decision.")
def monitoring_pipeline(
    project_uri: str,
    registry_uri: str,
    inference_log: str,
    labels: str,
    incidents: str,
    metrics: str,
    window_start: str = "",
    window_end: str = "",
) -> None:
    """Look at a window of the inference log with the open drift tests."""
    monitoring_steps.join(
        drift, project_uri, registry_uri, inference_log, labels, incidents, metrics, window_start, window_end
    )
