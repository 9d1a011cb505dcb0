"""KFP component of the gate: decide whether the candidate may replace the champion."""

from kfp import dsl
from kfp.dsl import Artifact, Input, Output

from components.shared.images import image


@dsl.component(base_image=image("gate"), install_kfp_package=False)
def gate(project: Input[Artifact], evaluation: Input[Artifact], verdict: Output[Artifact]) -> bool:
    """Apply the project's rules to the candidate; every rule has a result and a reason."""
    from components.gate import logic
    from components.shared import bundle
    from components.shared.documents.evaluation import EvaluationReport

    judged = logic.judge(bundle.project(project.path), EvaluationReport.read(evaluation.path))
    judged.write(verdict.path)
    return judged.promote
