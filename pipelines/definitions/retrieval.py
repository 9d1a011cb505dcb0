"""The retrieval pipeline: the examples of a project with their point-in-time features, and nothing more."""

from kfp import dsl
from kfp.dsl import Artifact

from components.feature_retrieval.component import feature_retrieval
from components.ingestion.component import ingestion


@dsl.pipeline(name="perennial-retrieval", description="The examples of a project with their point-in-time features.")
def retrieval_pipeline(project_uri: str, source_root: str, source_hash: str) -> None:
    """Retrieve features of the rows of the label's source."""
    project = dsl.importer(artifact_uri=project_uri, artifact_class=Artifact, reimport=False).output
    snapshot = ingestion(project=project, source_root=source_root, source_hash=source_hash).output
    feature_retrieval(project=project, snapshot=snapshot, examples="labelled")
