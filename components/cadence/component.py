"""KFP component of cadence: backtest schedules and alarms on the project's history, and recommend when to retrain."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Output

from components.shared.images import image


@dsl.component(base_image=image("cadence"), install_kfp_package=False)
def cadence(
    project: Input[Artifact], training_set: Input[Dataset], recommendation: Output[Artifact], seed: int
) -> None:
    """Train at the start of each block of the history, and compare schedules and alarms by what they cost."""
    from pathlib import Path

    from components.cadence import logic
    from components.shared import bundle

    logic.recommend(bundle.project(project.path), Path(training_set.path), seed).write(recommendation.path)
