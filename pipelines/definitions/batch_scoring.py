"""The batch scoring pipeline: the champion's score of every entity, by its newest features."""

from kfp import dsl
from kfp.dsl import Artifact

from components.batch_scoring.component import batch_scoring
from components.champion.component import champion
from components.feature_retrieval.component import feature_retrieval
from components.ingestion.component import ingestion


@dsl.pipeline(name="perennial-batch-scoring", description="The champion's score of every entity.")
def batch_scoring_pipeline(
    project_uri: str, source_root: str, source_hash: str, registry_uri: str, scores: str, registry_state: str = ""
) -> None:
    """Score each entity of the label's source as of the newest time in the tables."""
    project = dsl.importer(artifact_uri=project_uri, artifact_class=Artifact, reimport=False).output
    snapshot = ingestion(project=project, source_root=source_root, source_hash=source_hash).output
    incumbent = champion(project=project, registry_uri=registry_uri, registry_state=registry_state)
    incumbent.set_caching_options(False)
    rows = feature_retrieval(project=project, snapshot=snapshot, examples="newest").output
    model = incumbent.outputs["model"]
    # A target may divide this step between pods.
    scored = batch_scoring(project=project, rows=rows, model=model, folder=scores, shard=0, shards=1)
    scored.set_caching_options(False)
