"""Find where a table's statistics violate its schema or differ from the last accepted statistics."""

from typing import Any

from components.data_validation.contract import ValidationBackend
from components.data_validation.finding import Anomaly
from components.shared.tfdv import schema
from components.shared.tfdv.violations import Violation


def find(
    backend: ValidationBackend,
    statistics: Any,
    reviewed: Any,
    source: str,
    accepted: Any | None = None,
    environment: str = schema.TRAINING,
) -> list[Anomaly]:
    """Compare statistics with a schema, and with accepted statistics if there are any.

    Args:
        backend: The library that compares.
        statistics: Statistics of the table.
        reviewed: The schema, with its drift and skew comparators.
        source: Name of the table, for the messages.
        accepted: Statistics of the table in the last accepted snapshot, if there is one.
        environment: ``TRAINING``, or ``SERVING``, where the label is absent. A schema without environments requires
            all of its columns in both.
    """
    declared = environment if environment in reviewed.default_environment else None
    return [_anomaly(source, each) for each in backend.violations(statistics, reviewed, accepted, declared)]


def _anomaly(source: str, violation: Violation) -> Anomaly:
    subject = f"'{violation.column}'" if violation.column else "the table"
    if violation.is_comparison:
        sentence = (
            f"the distribution of {subject} differs from the last accepted snapshot ({violation.details}); expected a "
            "smaller difference. Check what changed at the source, or raise the threshold in "
            f"feature_repo/schema/{source}.pbtxt."
        )
        return Anomaly(violation.column, "drift", sentence)
    sentence = (
        f"{subject} violates the schema: {violation.summary} ({violation.details}); expected data that conforms "
        f"to feature_repo/schema/{source}.pbtxt. Correct the data or update the schema."
    )
    return Anomaly(violation.column, "schema_anomalies", sentence)
