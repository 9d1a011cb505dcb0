"""KFP component of tuning: find the hyperparameters with the lowest validation loss."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Output

from components.shared.images import image


@dsl.component(base_image=image("tuning"), install_kfp_package=False)
def tuning(
    project: Input[Artifact], splits: Input[Dataset], seed: int, study_storage: str, study: Output[Artifact]
) -> None:
    """Search the project's space; a study that was interrupted is resumed."""
    from pathlib import Path

    from components.shared import bundle
    from components.tuning import logic

    best = logic.tune(bundle.project(project.path), Path(splits.path), seed, study_storage, Path(study.path))
    study.metadata.update(best)
