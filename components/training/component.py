"""KFP component of training: a model package whose ONNX export is checked against the Keras model."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Model, Output

from components.shared.images import image


@dsl.component(base_image=image("training"), install_kfp_package=False)
def training(
    project: Input[Artifact], splits: Input[Dataset], study: Input[Artifact], seed: int, model: Output[Model]
) -> None:
    """Train with the study's hyperparameters, choose the threshold, export the model and check the export."""
    from pathlib import Path

    from components.shared import bundle
    from components.training import logic

    facts = logic.train(bundle.project(project.path), Path(splits.path), Path(study.path), seed, Path(model.path))
    model.metadata.update(facts)
