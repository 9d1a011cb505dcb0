"""KFP component of batch scoring: the champion's scores of many rows, as parquet files."""

from typing import List, Optional

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Model, Output

from components.shared.images import image


@dsl.component(base_image=image("batch_scoring"), install_kfp_package=False)
def batch_scoring(
    project: Input[Artifact],
    rows: Input[Dataset],
    model: Input[Model],
    folder: str,
    shard: int,
    shards: int,
    scores: Output[Dataset],
    written: Optional[Input[List[Dataset]]] = None,
) -> None:
    """Score every row of a shard once; parts that earlier runs or other pods have written are kept."""
    from pathlib import Path

    from components.batch_scoring import logic
    from components.shared import bundle

    read, target, share = (Path(rows.path), Path(model.path)), Path(scores.path), logic.Share(shard, shards)
    done = logic.score(bundle.project(project.path), *read, folder, target, share, written)
    scores.metadata.update(rows=done.rows, version=done.version)
