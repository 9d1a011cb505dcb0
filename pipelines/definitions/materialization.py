"""The materialization pipeline: from the project's sources to online features."""

from kfp import dsl
from kfp.dsl import Artifact

from components.ingestion.component import ingestion
from components.materialization.component import materialization


# Not "materialization": kfp takes a pipeline that is named like one of its components for that component.
@dsl.pipeline(name="perennial-materialization", description="From the project's sources to online features.")
def materialization_pipeline(
    project_uri: str,
    source_root: str,
    source_hash: str,
    online_store: str,
    window_start: str = "",
    window_end: str = "",
) -> None:
    """Fill the online store with the newest features of a window."""
    project = dsl.importer(artifact_uri=project_uri, artifact_class=Artifact, reimport=False).output
    snapshot = ingestion(project=project, source_root=source_root, source_hash=source_hash).output
    written = materialization(
        project=project,
        snapshot=snapshot,
        online_store=online_store,
        window_start=window_start,
        window_end=window_end,
    )
    # The store may have been emptied since; what it holds already is not written again.
    written.set_caching_options(False)
