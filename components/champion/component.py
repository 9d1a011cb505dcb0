"""The champion step as a KFP component: what the registry holds now, as artifacts."""

from kfp import dsl
from kfp.dsl import Artifact, Input, Model, Output

from components.shared.images import image


@dsl.component(base_image=image("champion"), install_kfp_package=False)
def champion(
    project: Input[Artifact],
    registry_uri: str,
    registry_state: str,
    model: Output[Model],
    accepted: Output[Artifact],
    measured: Output[Artifact],
    start: Output[Artifact],
) -> None:
    """Fetch the champion, what was measured of it, what training may continue, and the last accepted statistics."""
    from pathlib import Path

    from components.champion import logic
    from components.shared import bundle

    targets = Path(model.path), Path(accepted.path), Path(measured.path), Path(start.path)
    version = logic.fetch(bundle.project(project.path), registry_uri, *targets, registry_state or None)
    model.metadata["version"] = version or "none"
