"""The reproduction of a training run: its candidate again, from the recorded data, without releasing anything."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Model

from components.evaluation.component import evaluation
from components.feature_retrieval.component import feature_retrieval
from components.gate.component import gate
from components.split.component import split
from components.training.component import training
from components.tuning.component import tuning


@dsl.pipeline(name="perennial-reproduction", description="The candidate of an earlier run again, from its data.")
def reproduction_pipeline(
    project_uri: str, snapshot_uri: str, champion_uri: str, start_uri: str, study_storage: str, seed: int = 7
) -> None:
    """Train and judge as the run did; the champion is the one that the run compared its candidate with."""
    project = dsl.importer(artifact_uri=project_uri, artifact_class=Artifact, reimport=False).output
    snapshot = dsl.importer(artifact_uri=snapshot_uri, artifact_class=Dataset, reimport=False).output
    incumbent = dsl.importer(artifact_uri=champion_uri, artifact_class=Model, reimport=False).output
    start = dsl.importer(artifact_uri=start_uri, artifact_class=Artifact, reimport=False).output
    training_set = feature_retrieval(project=project, snapshot=snapshot, examples="labelled").output
    splits = split(project=project, training_set=training_set, seed=seed).output
    study = tuning(project=project, splits=splits, seed=seed, study_storage=study_storage).output
    trained = training(project=project, splits=splits, study=study, start=start, seed=seed)
    measured = evaluation(
        project=project,
        splits=splits,
        model=trained.outputs["model"],
        plain=trained.outputs["plain"],
        champion=incumbent,
        seed=seed,
    )
    gate(project=project, evaluation=measured.outputs["report"])
