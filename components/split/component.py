"""KFP component of the split: training, validation and test rows."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Output

from components.shared.images import image


@dsl.component(base_image=image("split"), install_kfp_package=False)
def split(project: Input[Artifact], training_set: Input[Dataset], seed: int, splits: Output[Dataset]) -> None:
    """Split the rows without leakage across time or entities."""
    from pathlib import Path

    from components.shared import bundle
    from components.split import logic

    summary = logic.divide(bundle.project(project.path), Path(training_set.path), Path(splits.path), seed)
    splits.metadata.update(summary.rows.model_dump())
