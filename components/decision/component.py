"""KFP component of the decision: what to do after a look at the window."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Output

from components.shared.images import image


@dsl.component(base_image=image("decision"), install_kfp_package=False)
def decision(
    project: Input[Artifact],
    window: Input[Dataset],
    drift: Input[Artifact],
    performance: Input[Artifact],
    quality: Input[Artifact],
    outcome: Output[Artifact],
) -> bool:
    """Decide from all signals: nothing, watch, retrain or roll back; return whether another model is called for."""
    from components.decision import logic
    from components.shared import bundle

    decided = logic.decide(bundle.project(project.path), window.path, drift.path, performance.path, quality.path)
    decided.write(outcome.path)
    return decided.calls_for_model
