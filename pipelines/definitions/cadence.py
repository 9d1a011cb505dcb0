"""The cadence pipeline: backtest retraining policies on the project's history."""

from kfp import dsl
from kfp.dsl import Artifact

from components.cadence.component import cadence
from components.feature_retrieval.component import feature_retrieval
from components.ingestion.component import ingestion


@dsl.pipeline(
    name="perennial-cadence", description="Recommends when to retrain, by a backtest on the project's history."
)
def cadence_pipeline(project_uri: str, source_root: str, source_hash: str, seed: int = 7) -> None:
    """Retrieve the features of the labeled rows, and compare policies of retraining on them."""
    project = dsl.importer(artifact_uri=project_uri, artifact_class=Artifact, reimport=False).output
    snapshot = ingestion(project=project, source_root=source_root, source_hash=source_hash).output
    training_set = feature_retrieval(project=project, snapshot=snapshot, examples="labelled")
    cadence(project=project, training_set=training_set.output, seed=seed)
