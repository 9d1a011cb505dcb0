"""KFP component of drift with Alibi Detect, which is under the Business Source License: an image of its own."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Output

from components.shared.images import image


@dsl.component(base_image=image("alibi_drift"), install_kfp_package=False)
def alibi_drift(
    project: Input[Artifact], window: Input[Dataset], measured: Input[Artifact], report: Output[Artifact]
) -> None:
    """Compare inputs, predictions and labels of a window with the champion's reference, each as a signal of its own."""
    from pathlib import Path

    from components.alibi_drift import logic
    from components.shared import bundle

    compared = logic.compare(bundle.project(project.path), Path(window.path), Path(measured.path))
    compared.write(Path(report.path))
