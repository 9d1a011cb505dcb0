"""The steps from a snapshot to a released model, for every pipeline that trains."""

from typing import Any

from kfp import dsl

from components.data_validation.component import data_validation
from components.deployment.component import deployment
from components.evaluation.component import evaluation
from components.feature_retrieval.component import feature_retrieval
from components.gate.component import gate
from components.registration.component import registration
from components.rejection.component import rejection
from components.split.component import split
from components.training.component import training
from components.tuning.component import tuning


def join(
    project: Any,
    snapshot: Any,
    incumbent: Any,
    *,
    registry_uri: Any,
    study_storage: Any,
    endpoint: Any,
    incidents: Any,
    code: Any,
    seed: Any,
) -> None:
    """Train one candidate, judge it, and release it only when it may replace the champion.

    Args:
        project: The bundle, as an artifact.
        snapshot: The tables, as an artifact.
        incumbent: The task of the step champion.
        registry_uri: Parameter of the pipeline, as the following ones are.
        study_storage: Where tuning keeps its study.
        endpoint: What a model is released to.
        incidents: Where the step deployment opens an incident.
        code: The commit and the image references that the run uses.
        seed: Decides every random choice.
    """
    validated = data_validation(project=project, snapshot=snapshot, accepted=incumbent.outputs["accepted"])
    training_set = feature_retrieval(project=project, snapshot=snapshot, examples="labelled").after(validated)
    splits = split(project=project, training_set=training_set.output, seed=seed).output
    study = tuning(project=project, splits=splits, seed=seed, study_storage=study_storage).output
    trained = training(project=project, splits=splits, study=study, start=incumbent.outputs["start"], seed=seed)
    model = trained.outputs["model"]
    measured = evaluation(
        project=project,
        splits=splits,
        model=model,
        plain=trained.outputs["plain"],
        champion=incumbent.outputs["model"],
        seed=seed,
    )
    judged = gate(project=project, evaluation=measured.outputs["report"])
    evidence = dict(
        project=project,
        snapshot=snapshot,
        statistics=validated.outputs["statistics"],
        splits=splits,
        study=study,
        model=model,
        evaluation=measured.outputs["report"],
        verdict=judged.outputs["verdict"],
        registry_uri=registry_uri,
        code=code,
    )
    with dsl.If(judged.outputs["Output"] == True, name="promoted"):  # noqa: E712 - kfp builds the condition from ==
        registered = registration(**evidence)
        registered.set_caching_options(False)
        released = deployment(
            project=project,
            release=registered.outputs["release"],
            verdict=judged.outputs["verdict"],
            registry_uri=registry_uri,
            endpoint=endpoint,
            incidents=incidents,
        )
        released.set_caching_options(False)
    # Two conditions side by side, since If and Else would share a DAG, whose driver is one more pod and level.
    with dsl.If(judged.outputs["Output"] == False, name="rejected"):  # noqa: E712 - as above
        rejected = rejection(**evidence)
        rejected.set_caching_options(False)
