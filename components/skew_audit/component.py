"""KFP component of the skew audit: logged features against those of the offline path as of the same time."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Output

from components.shared.images import image


@dsl.component(base_image=image("skew_audit"), install_kfp_package=False)
def skew_audit(
    project: Input[Artifact],
    snapshot: Input[Dataset],
    log: str,
    window_start: str,
    window_end: str,
    most_rows: int,
    report: Output[Dataset],
) -> None:
    """Compare the features of logged requests with those that the offline path computes as of their time."""
    from pathlib import Path

    from components.skew_audit import logic

    span = logic.Span.parse(window_start, window_end)
    done = logic.audit(project.path, Path(snapshot.path), log, span, most_rows, Path(report.path))
    report.metadata.update(rows=done.compared)
