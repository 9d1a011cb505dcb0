"""KFP component of training: model packages whose ONNX exports are checked against the trained models."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Model, Output

from components.shared.images import image


@dsl.component(base_image=image("training"), install_kfp_package=False)
def training(
    project: Input[Artifact],
    splits: Input[Dataset],
    study: Input[Artifact],
    start: Input[Artifact],
    seed: int,
    model: Output[Model],
    plain: Output[Model],
) -> None:
    """Fit the families of models, export the best one and the plain one, and check the exports."""
    from pathlib import Path

    from components.shared import bundle
    from components.training import logic

    folders = Path(model.path), Path(plain.path), Path(start.path)
    facts = logic.train(bundle.project(project.path), Path(splits.path), Path(study.path), seed, *folders)
    model.metadata.update(facts)
