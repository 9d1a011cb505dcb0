"""The training pipeline: from the project's sources to a released model."""

from typing import Dict

from kfp import dsl
from kfp.dsl import Artifact

from components.champion.component import champion
from components.ingestion.component import ingestion
from pipelines.definitions import training_steps


# Not "training": kfp takes a pipeline that is named like one of its components for that component.
@dsl.pipeline(name="perennial-training", description="From the project's sources to a released model.")
def training_pipeline(
    project_uri: str,
    source_root: str,
    source_hash: str,
    registry_uri: str,
    study_storage: str,
    endpoint: str,
    code: Dict[str, str],
    registry_state: str = "",
    incidents: str = "",
    seed: int = 7,
) -> None:
    """Train one candidate, judge it, and release it only when it may replace the champion."""
    project = dsl.importer(artifact_uri=project_uri, artifact_class=Artifact, reimport=False).output
    snapshot = ingestion(project=project, source_root=source_root, source_hash=source_hash).output
    incumbent = champion(project=project, registry_uri=registry_uri, registry_state=registry_state)
    # A target that passes the state of the registry may cache this step by it.
    incumbent.set_caching_options(False)
    training_steps.join(
        project,
        snapshot,
        incumbent,
        registry_uri=registry_uri,
        study_storage=study_storage,
        endpoint=endpoint,
        incidents=incidents,
        code=code,
        seed=seed,
    )
