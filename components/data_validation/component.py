"""KFP component of data validation: statistics, findings and a report; a blocking finding stops the run."""

from kfp import dsl
from kfp.dsl import HTML, Artifact, Dataset, Input, Output

from components.shared.images import image


@dsl.component(base_image=image("data_validation"), install_kfp_package=False)
def data_validation(
    project: Input[Artifact],
    snapshot: Input[Dataset],
    accepted: Input[Artifact],
    statistics: Output[Artifact],
    report: Output[HTML],
) -> None:
    """Check the snapshot against its schema and the last accepted snapshot; raise DataBlocked if a finding blocks."""
    from pathlib import Path

    from components.data_validation import logic

    findings = logic.validate(
        project.path, Path(snapshot.path), Path(accepted.path), Path(statistics.path), Path(report.path)
    )
    logic.stop_if_blocked(findings)
