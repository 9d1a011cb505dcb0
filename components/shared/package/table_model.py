"""A model package that scores the rows of a table, in batches."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from components.shared.documents.model_facts import ModelFacts
from components.shared.errors import StepFailed
from components.shared.inputs import rows
from components.shared.inputs.rows import Inputs
from components.shared.measures.ranking import Floats
from components.shared.package.model_package import ModelPackage

_BATCH_ROWS = 8192


@dataclass(frozen=True)
class TableModel:
    """A model package and the conversion of a table's columns into its inputs."""

    package: ModelPackage

    @staticmethod
    def open(folder: Path) -> "TableModel":
        """Verify and load a package; ONNX Runtime may use every core.

        Raises:
            StepFailed: If the package differs from its manifest.
        """
        return TableModel(ModelPackage.open(folder, threads=0))

    @property
    def folder(self) -> Path:
        """Return the folder of the package."""
        return self.package.folder

    @property
    def facts(self) -> ModelFacts:
        """Return what the package says about its model."""
        return self.package.facts

    def inputs(self, table: pa.Table) -> Inputs:
        """Take the model's features from a table."""
        return rows.inputs(table, list(self.facts.numeric), list(self.facts.categorical))

    def score(self, inputs: Inputs) -> Floats:
        """Score all rows; float64, as metrics expect it.

        Raises:
            StepFailed: If a score is infinite or NaN.
        """
        batches = [
            self.package.score(inputs.take(np.arange(start, min(start + _BATCH_ROWS, len(inputs)))).feed())
            for start in range(0, len(inputs), _BATCH_ROWS)
        ]
        score = np.concatenate(batches).astype(np.float64)
        if not np.isfinite(score).all():
            raise StepFailed(
                f"{int((~np.isfinite(score)).sum())} of the model's {score.size} scores are not finite; every score "
                "must be. Lower the learning rate, or look for extreme values in the features."
            )
        return score
