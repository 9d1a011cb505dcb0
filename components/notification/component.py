"""KFP component of notification: incidents of a cluster's monitoring, and the messages about them."""

from kfp import dsl
from kfp.dsl import Artifact, Input

from components.shared.images import image


@dsl.component(base_image=image("notification"), install_kfp_package=False)
def notification(project: Input[Artifact], outcome: Input[Artifact], incidents: str, run: str) -> str:
    """Open an incident where the decision calls for one, and tell the sinks of the project file."""
    from components.notification import logic
    from components.shared import bundle

    return logic.notify(bundle.project(project.path), outcome.path, incidents, run)
