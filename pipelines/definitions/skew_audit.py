"""The skew audit: logged features against those of the offline path as of the time of each request."""

from kfp import dsl
from kfp.dsl import Artifact

from components.ingestion.component import ingestion
from components.skew_audit.component import skew_audit


@dsl.pipeline(name="perennial-skew-audit", description="Logged features against those of the offline path.")
def skew_audit_pipeline(
    project_uri: str,
    source_root: str,
    source_hash: str,
    inference_log: str,
    window_start: str = "",
    window_end: str = "",
    most_rows: int = 0,
) -> None:
    """Replay the logged requests of a window through the project's tables as they are now."""
    project = dsl.importer(artifact_uri=project_uri, artifact_class=Artifact, reimport=False).output
    snapshot = ingestion(project=project, source_root=source_root, source_hash=source_hash).output
    audited = skew_audit(
        project=project,
        snapshot=snapshot,
        log=inference_log,
        window_start=window_start,
        window_end=window_end,
        most_rows=most_rows,
    )
    # The log is no input that a cache could compare.
    audited.set_caching_options(False)
