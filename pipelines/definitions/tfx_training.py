"""The TFX variant of training: the same tables, features, split and search, then TFX's own components."""

from kfp import dsl
from kfp.dsl import Artifact

from components.feature_retrieval.component import feature_retrieval
from components.ingestion.component import ingestion
from components.split.component import split
from components.tfx_training.component import tfx_training
from components.tuning.component import tuning


@dsl.pipeline(name="perennial-tfx-training", description="From the project's sources to a SavedModel that TFX blessed.")
def tfx_training_pipeline(
    project_uri: str, source_root: str, source_hash: str, study_storage: str, seed: int = 7
) -> None:
    """Train, evaluate and push one model with TFX; nothing is released."""
    project = dsl.importer(artifact_uri=project_uri, artifact_class=Artifact, reimport=False).output
    snapshot = ingestion(project=project, source_root=source_root, source_hash=source_hash).output
    training_set = feature_retrieval(project=project, snapshot=snapshot, examples="labelled").output
    splits = split(project=project, training_set=training_set, seed=seed).output
    study = tuning(project=project, splits=splits, seed=seed, study_storage=study_storage).output
    tfx_training(project=project, splits=splits, study=study, seed=seed)
