"""KFP face of the rejected branch: log the run, and say which phase to go back to."""

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
    """Keep the evidence of a candidate that did not earn its place."""
    from pathlib import Path

    from components.rejection import logic
    from components.shared.registry import Evidence

    evidence = Evidence.of(project, snapshot, statistics, splits, study, model, evaluation, verdict)
    logic.reject(evidence, registry_uri, code, Path(advice.path))
