"""KFP component of registration: register the candidate as a version, with model card and release manifest."""

from typing import Dict

from kfp import dsl
from kfp.dsl import HTML, Artifact, Dataset, Input, Markdown, Model, Output

from components.shared.images import image


@dsl.component(base_image=image("registration"), install_kfp_package=False)
def registration(
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
    release: Output[Artifact],
    card: Output[Markdown],
    card_html: Output[HTML],
) -> None:
    """Log the run, register the version as challenger, and write the model card and the release manifest."""
    from pathlib import Path

    from components.registration import logic
    from components.shared.registry import Evidence

    evidence = Evidence.of(project, snapshot, statistics, splits, study, model, evaluation, verdict)
    logic.register(evidence, registry_uri, code, Path(release.path), Path(card.path), Path(card_html.path))
