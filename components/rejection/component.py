"""KFP component of rejection: log the run, and advise which phase to go back to."""

from typing import Dict

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Markdown, Model, Output

from components.shared.images import image


@dsl.component(base_image=image("rejection"), install_kfp_package=False)
def rejection(
    project: Input[Artifact],
    snapshot: Input[Dataset],
    statistics: Input[Artifact],
    splits: Input[Dataset],
    study: Input[Artifact],
    model: Input[Model],
    evaluation: Input[Artifact],
    verdict: Input[Artifact],
    registry_uri: str,
    code: Dict[str, str],
    advice: Output[Markdown],
) -> None:
    """Log the artifacts of a rejected candidate, and write the advice."""
    from pathlib import Path

    from components.rejection import logic
    from components.shared.registry import Evidence

    evidence = Evidence.of(project, snapshot, statistics, splits, study, model, evaluation, verdict)
    logic.reject(evidence, registry_uri, code, Path(advice.path))
