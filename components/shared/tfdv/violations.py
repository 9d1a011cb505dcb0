"""Where the statistics of a table violate a schema, as TFDV finds it."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from components.shared.tfdv import quiet


class Violation(NamedTuple):
    """One deviation of a table's statistics from its schema, or from other statistics of the table.

    Attributes:
        column: The column; None for the table as a whole.
        type: Name in ``AnomalyInfo.Type`` of TensorFlow Metadata, such as ``ENUM_TYPE_UNEXPECTED_STRING_VALUES``.
        summary: What it is, a few words in lower case.
        details: Which values, and how many.
    """

    column: str | None
    type: str
    summary: str
    details: str

    @property
    def is_comparison(self) -> bool:
        """Return whether a distribution differs from that of other statistics, and no value is wrong."""
        return self.type.startswith("COMPARATOR_")


def find(
    statistics: Any, reviewed: Any, accepted: Any | None = None, environment: str | None = None
) -> Iterator[Violation]:
    """Yield the violations of the columns, then those of the table.

    Args:
        statistics: Statistics of the table.
        reviewed: The schema, with its drift and skew comparators.
        accepted: Statistics that the comparators compare with, if there are any.
        environment: One of the schema's default environments; None requires all columns.
    """
    result = quiet.tfdv().validate_statistics(
        statistics,
        reviewed,
        environment=environment,
        previous_statistics=accepted,
        serving_statistics=accepted,
    )
    for info in result.anomaly_info.values():
        yield from _violations(info, info.path.step[0] if info.path.step else None)
    if result.HasField("dataset_anomaly_info"):
        yield from _violations(result.dataset_anomaly_info, None)


def _violations(info: Any, column: str | None) -> Iterator[Violation]:
    for reason in info.reason:
        type_, details = type(info).Type.Name(reason.type), " ".join(reason.description.split()).rstrip(".")
        yield Violation(column, type_, reason.short_description.lower(), details)
