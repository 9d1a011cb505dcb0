"""TFX training as a KFP component: TFX's own pipeline, run inside one step."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Model, Output

from components.shared.images import image


@dsl.component(base_image=image("tfx_training"), install_kfp_package=False)
def tfx_training(
    project: Input[Artifact],
    splits: Input[Dataset],
    study: Input[Artifact],
    seed: int,
    model: Output[Model],
    pipeline_root: Output[Artifact],
) -> None:
    """Train, evaluate and push a SavedModel with TFX; raise GateRejected if its Evaluator does not bless it."""
    from pathlib import Path

    from components.tfx_training import logic

    inputs = Path(project.path), Path(splits.path), Path(study.path)
    model.metadata.update(logic.train(*inputs, seed, Path(model.path), Path(pipeline_root.path)))
