"""What a library has to do for data validation: statistics of a table, violations of a schema, an inferred schema.

Statistics and schemas are messages of TensorFlow Metadata, whichever library computes them. So a project that changes
its library keeps its reviewed schemas and its accepted statistics.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from components.data_validation.exact import Exact, Table
from components.shared.tfdv.violations import Violation


class ValidationBackend(Protocol):
    """A library that describes and checks tables; ``test_equal_backends.py`` holds all of them to the same results."""

    def statistics(self, table: Table, exact: Exact, expected: Mapping[str, str]) -> Any:
        """Describe a table.

        Times are microseconds since 1970, booleans are 0 and 1. Missing values, ranges and the values of columns with
        a domain are exact; the rest of a large table may come from a sample.

        Args:
            table: The rows.
            exact: Figures over all rows.
            expected: Column to its type in the schema (INT, FLOAT, BYTES). A column without values, or with integers
                only, may fit several types; it gets the expected one.

        Returns:
            A ``DatasetFeatureStatisticsList`` with one data set.
        """
        ...

    def violations(
        self, statistics: Any, reviewed: Any, accepted: Any | None, environment: str | None
    ) -> Iterable[Violation]:
        """Compare statistics with a schema, and with accepted statistics if there are any.

        Args:
            statistics: Statistics of the table.
            reviewed: The schema, with its drift and skew comparators.
            accepted: Statistics of the last accepted snapshot.
            environment: One of the schema's default environments; None requires all columns.
        """
        ...

    def infer(self, statistics: Any) -> Any:
        """Infer a schema from statistics; a person must review it."""
        ...
