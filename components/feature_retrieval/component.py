"""KFP component of feature retrieval: build a point-in-time correct training set."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Output

from components.shared.images import image


@dsl.component(base_image=image("feature_retrieval"), install_kfp_package=False)
def feature_retrieval(
    project: Input[Artifact], snapshot: Input[Dataset], training_set: Output[Dataset], examples: str
) -> None:
    """Join the labelled rows, or the newest of each entity, with the features that were known at their event time."""
    from pathlib import Path

    from components.feature_retrieval import logic

    summary = logic.retrieve(project.path, Path(snapshot.path), Path(training_set.path), examples)
    training_set.metadata.update(rows=summary.rows)
