"""KFP component of data quality: validate the logged features of a window against their schema."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Output

from components.shared.images import image


@dsl.component(base_image=image("data_quality"), install_kfp_package=False)
def data_quality(
    project: Input[Artifact], window: Input[Dataset], measured: Input[Artifact], report: Output[Artifact]
) -> None:
    """Find where the logged features of a window violate the reviewed schema, or what the test rows have in common."""
    from pathlib import Path

    from components.data_quality import logic

    quality = logic.validate(project.path, Path(window.path), Path(measured.path))
    quality.write(Path(report.path))
