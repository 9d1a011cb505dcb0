"""KFP component of ingestion: copy the project's sources into an immutable snapshot."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Output

from components.shared.images import image


@dsl.component(base_image=image("ingestion"), install_kfp_package=False)
def ingestion(project: Input[Artifact], source_root: str, source_hash: str, snapshot: Output[Dataset]) -> None:
    """Copy every source into parquet; ``source_hash`` invalidates KFP's cache when the sources' content changes."""
    from pathlib import Path

    from components.ingestion import logic
    from components.shared import bundle

    result = logic.ingest(bundle.project(project.path), source_root, Path(snapshot.path))
    snapshot.metadata.update(content_hash=result.content_hash, rows=result.rows)
