"""What an evaluation measures: the test rows, their truth, and every model's answers to them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components.shared.inputs.column_file import Columns
from components.shared.inputs.rows import Inputs
from components.shared.measures import slices
from components.shared.measures.metric_names import HIGHER_IS_BETTER, PRIMARY
from components.shared.measures.metrics import Scorecard
from components.shared.package.table_model import TableModel
from components.shared.project import Evaluation, Project


@dataclass(frozen=True)
class Scorecards:
    """Every model's answers to the same rows; the champion's are None where it cannot be compared."""

    candidate: Scorecard
    rule: Scorecard
    plain: Scorecard
    champion: Scorecard | None

    @property
    def present(self) -> dict[str, Scorecard]:
        """Name every model that answered, the candidate first."""
        models = {"candidate": self.candidate, "rule": self.rule, "plain": self.plain}
        return models if self.champion is None else models | {"champion": self.champion}


@dataclass(frozen=True)
class Judged:
    """The test rows with their truth and the models' answers, and the training rows.

    ``classes`` holds the model's classes and those that only the test rows have; ``truth`` is (rows,) a class number or
    the label of a regression; ``clusters`` is (rows,) the number of the unit that the bootstrap draws.
    """

    project: Project
    package: TableModel
    classes: list[str]
    test: pa.Table
    train: Columns
    train_inputs: Inputs
    inputs: Inputs
    truth: NDArray[Any]
    scorecards: Scorecards
    clusters: NDArray[np.intp]
    seed: int

    @property
    def settings(self) -> Evaluation:
        """The project's section on evaluation."""
        return self.project.evaluation

    @property
    def primary(self) -> str:
        """Name of the metric that comparisons use."""
        return self.settings.primary or PRIMARY[self.project.task]

    @property
    def higher_is_better(self) -> bool:
        """Direction of the primary metric."""
        return bool(HIGHER_IS_BETTER[self.primary])

    def groups(self) -> slices.Groups:
        """Return the test rows by the values of their columns, with the bins of the training rows."""
        return slices.Groups(self.train, self.test)
