"""The pipeline that closes the loop: monitoring and, where it decides so, training."""

from typing import Dict

from kfp import dsl

from components.drift.component import drift
from components.ingestion.component import ingestion
from pipelines.definitions import monitoring_steps, training_steps


@dsl.pipeline(name="perennial-loop", description="From late labels to a new model, when it is time.")
def loop_pipeline(
    project_uri: str,
    source_root: str,
    source_hash: str,
    registry_uri: str,
    study_storage: str,
    endpoint: str,
    code: Dict[str, str],
    inference_log: str,
    labels: str,
    incidents: str,
    metrics: str,
    seed: int = 7,
    window_start: str = "",
    window_end: str = "",
) -> None:
    """Look at a window of the inference log; where it calls for another model, train one and judge it."""
    monitored = monitoring_steps.join(
        drift, project_uri, registry_uri, inference_log, labels, incidents, metrics, window_start, window_end
    )
    # A cluster keeps no manifests of former versions, so a release that should be rolled back is replaced, too.
    with dsl.If(monitored.decided.outputs["Output"] == True, name="retrain"):  # noqa: E712
        snapshot = ingestion(project=monitored.project, source_root=source_root, source_hash=source_hash).output
        training_steps.join(
            monitored.project,
            snapshot,
            monitored.incumbent,
            registry_uri=registry_uri,
            study_storage=study_storage,
            endpoint=endpoint,
            incidents=incidents,
            code=code,
            seed=seed,
        )
