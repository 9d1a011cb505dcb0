"""The deployment step as a KFP component: verify the new release with a real request, then let it take over."""

from kfp import dsl
from kfp.dsl import Artifact, Input

from components.shared.images import image


@dsl.component(base_image=image("deployment"), install_kfp_package=False)
def deployment(
    project: Input[Artifact],
    release: Input[Artifact],
    verdict: Input[Artifact],
    registry_uri: str,
    endpoint: str,
    incidents: str,
) -> str:
    """Release what the gate promoted; the former champion answers until the new one has answered right."""
    from pathlib import Path

    from components.deployment import logic
    from components.shared import bundle

    manifests, judged = Path(release.path), Path(verdict.path)
    return logic.deploy(bundle.project(project.path), manifests, judged, registry_uri, endpoint, incidents)
