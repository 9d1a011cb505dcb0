"""TensorFlow Data Validation as a backend of data validation."""

from collections.abc import Iterator, Mapping
from typing import Any

from components.data_validation.exact import Exact, Table
from components.data_validation.tfdv import correction
from components.shared.tfdv import quiet, statistics, violations
from components.shared.tfdv.violations import Violation


class TfdvBackend:
    """The library of TensorFlow Extended."""

    def __init__(self) -> None:
        """Refuse code in the types of a file, which TFDV's old pyarrow would run; Beam does so too late."""
        import pyarrow_hotfix  # noqa: F401

    def statistics(self, table: Table, exact: Exact, expected: Mapping[str, str]) -> Any:
        """Describe a table; one of more than ``statistics.SAMPLE_ROWS`` rows by a sample with a fixed seed."""
        computed = statistics.of_file(table.path, exact.rows, expected)
        if exact.rows > statistics.SAMPLE_ROWS:
            correction.correct(computed, exact)
        return computed

    def violations(
        self, statistics: Any, reviewed: Any, accepted: Any | None, environment: str | None
    ) -> Iterator[Violation]:
        """Compare statistics with a schema, and with accepted statistics if there are any."""
        return violations.find(statistics, reviewed, accepted, environment)

    def infer(self, statistics: Any) -> Any:
        """Infer a schema from statistics; a person must review it."""
        return quiet.tfdv().infer_schema(statistics, infer_feature_shape=False)
