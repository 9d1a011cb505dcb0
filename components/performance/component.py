"""KFP component of performance: how the release does on the rows whose labels are due."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Model, Output

from components.shared.images import image


@dsl.component(base_image=image("performance"), install_kfp_package=False)
def performance(
    project: Input[Artifact],
    window: Input[Dataset],
    model: Input[Model],
    measured: Input[Artifact],
    report: Output[Artifact],
) -> None:
    """Measure the release on due labels, and test day by day whether its losses have risen."""
    from pathlib import Path

    from components.performance import logic
    from components.shared import bundle

    folders = Path(window.path), Path(model.path), Path(measured.path)
    logic.measure(bundle.project(project.path), *folders).write(Path(report.path))
