"""The monitoring pipeline with Alibi Detect, which is under the Business Source License."""

from kfp import dsl

from components.alibi_drift.component import alibi_drift
from pipelines.definitions import monitoring_steps


@dsl.pipeline(name="perennial-monitoring-alibi", description="From logged requests and late labels to one decision.")
def monitoring_alibi_pipeline(
    project_uri: str,
    registry_uri: str,
    inference_log: str,
    labels: str,
    incidents: str,
    metrics: str,
    window_start: str = "",
    window_end: str = "",
) -> None:
    """Look at a window of the inference log with the drift tests of Alibi Detect."""
    monitoring_steps.join(
        alibi_drift, project_uri, registry_uri, inference_log, labels, incidents, metrics, window_start, window_end
    )
