"""DuckDB as a backend of data validation: for platforms and versions of Python for which TFDV has no wheel."""

from collections.abc import Iterator, Mapping
from typing import Any

from components.data_validation.duckdb import inference, rules, statistics, supported
from components.data_validation.exact import Exact, Table
from components.shared.tfdv.violations import Violation


class DuckdbBackend:
    """Statistics by DuckDB over all rows; rules and inference of our own, held to TFDV's by tests."""

    def statistics(self, table: Table, exact: Exact, expected: Mapping[str, str]) -> Any:
        """Describe a table."""
        return statistics.compute(table, exact, expected)

    def violations(
        self, statistics: Any, reviewed: Any, accepted: Any | None, environment: str | None
    ) -> Iterator[Violation]:
        """Compare statistics with a schema, and with accepted statistics if there are any.

        Raises:
            InputError: If the schema declares what only TFDV checks.
        """
        supported.check(reviewed)
        return rules.violations(statistics, reviewed, accepted, environment)

    def infer(self, statistics: Any) -> Any:
        """Infer a schema from statistics; a person must review it."""
        return inference.infer(statistics)
