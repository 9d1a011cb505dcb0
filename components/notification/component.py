"""KFP component of notification: incidents of a cluster's monitoring, messages about them, and metrics."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input

from components.shared.images import image


@dsl.component(base_image=image("notification"), install_kfp_package=False)
def notification(
    project: Input[Artifact],
    window: Input[Dataset],
    drift: Input[Artifact],
    performance: Input[Artifact],
    outcome: Input[Artifact],
    incidents: str,
    metrics: str,
    run: str,
) -> str:
    """Open an incident where the decision calls for one, tell the sinks of the project file, and push metrics."""
    from components.notification import logic
    from components.shared import bundle

    looked = logic.Looked(window.path, drift.path, performance.path, outcome.path)
    return logic.notify(bundle.project(project.path), looked, incidents, metrics, run)
