"""The open tests of drift: those of data validation for each column, and scikit-learn's classifier for all together."""

from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components.drift import joint
from components.shared.documents.monitoring import DriftReport, JointDrift
from components.shared.drift import column, univariate
from components.shared.project import Project
from components.shared.window_drift import report
from components.shared.window_drift.detector import ALPHA, ColumnComparison


def compare(project: Project, window: Path, measured: Path) -> DriftReport:
    """Compare a window with the champion's test rows; see ``window_drift.report.compare``."""
    return report.compare(project, window, measured, OpenDetector())


class OpenDetector:
    """Tests without a license of their own: see ``components/shared/drift/univariate.py`` and ``joint.py``."""

    def column(self, reference: pa.ChunkedArray, rows: pa.ChunkedArray, tests: int) -> ColumnComparison:
        """Compare two columns: as numbers, or as categories where they are texts, truth values or few numbers."""
        if not pa.types.is_floating(reference.type):
            texts = reference.cast(pa.string()).to_pylist(), rows.cast(pa.string()).to_pylist()
            return _compared(univariate.compare_categories(*texts, tests=tests, alpha=ALPHA))
        numbers = _numbers(reference), _numbers(rows)
        if not column.has_few_values(numbers[0]):
            return _compared(univariate.compare_numbers(*numbers, tests=tests, alpha=ALPHA))
        few = column.as_categories(numbers[0]), column.as_categories(numbers[1])
        return _compared(univariate.compare_categories(*few, tests=tests, alpha=ALPHA))

    def joint(self, reference: pa.Table, rows: pa.Table) -> JointDrift | None:
        """Return how well a classifier tells the two apart."""
        return joint.compare(reference, rows)


def _compared(test: univariate.Comparison) -> ColumnComparison:
    # The threshold covers what chance explains.
    return ColumnComparison(test.statistic, test.value, test.threshold, test.effect, is_beyond_chance=True)


def _numbers(values: pa.ChunkedArray) -> NDArray[np.float64]:
    known: NDArray[np.float64] = values.drop_null().cast(pa.float64()).to_numpy(zero_copy_only=False)
    return known
