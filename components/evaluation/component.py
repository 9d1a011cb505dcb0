"""KFP component of evaluation: measure the candidate, the champion and the baselines on the same rows."""

from kfp import dsl
from kfp.dsl import Artifact, ClassificationMetrics, Dataset, Input, Metrics, Model, Output

from components.shared.images import image


@dsl.component(base_image=image("evaluation"), install_kfp_package=False)
def evaluation(
    project: Input[Artifact],
    splits: Input[Dataset],
    model: Input[Model],
    plain: Input[Model],
    champion: Input[Model],
    seed: int,
    report: Output[Artifact],
    metrics: Output[Metrics],
    curves: Output[ClassificationMetrics],
) -> None:
    """Measure everything that the gate, the card and the report speak of."""
    from pathlib import Path

    from components.evaluation import logic
    from components.shared import bundle

    models = Path(model.path), Path(plain.path), Path(champion.path)
    measured = logic.evaluate(bundle.project(project.path), Path(splits.path), *models, seed, Path(report.path))
    logic.log_metrics(measured, metrics)
    logic.log_curves(measured, curves)
    # Their content is in their metadata; kfp's cache takes an output without a file for one that was lost.
    Path(metrics.path).touch()
    Path(curves.path).touch()
