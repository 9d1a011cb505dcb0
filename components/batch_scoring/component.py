"""KFP component of batch scoring: the champion's scores of many rows, as parquet files."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Model, Output

from components.shared.images import image


@dsl.component(base_image=image("batch_scoring"), install_kfp_package=False)
def batch_scoring(
    project: Input[Artifact], rows: Input[Dataset], model: Input[Model], folder: str, scores: Output[Dataset]
) -> None:
    """Score every row once; parts that an earlier run of the same rows and model has written are kept."""
    from pathlib import Path

    from components.batch_scoring import logic
    from components.shared import bundle

    read, target = (Path(rows.path), Path(model.path)), Path(scores.path)
    done = logic.score(bundle.project(project.path), *read, folder, target)
    scores.metadata.update(rows=done.rows, version=done.version)
