"""Find where a table's statistics violate its schema or differ from the last accepted statistics."""

from typing import Any

from components.data_validation import quiet, schema
from components.data_validation.finding import Anomaly


def find(
    statistics: Any, reviewed: Any, source: str, accepted: Any | None = None, environment: str = schema.TRAINING
) -> list[Anomaly]:
    """Compare statistics with a schema, and with accepted statistics if there are any.

    Args:
        statistics: Statistics of the table.
        reviewed: The schema, with its drift and skew comparators.
        source: Name of the table, for the messages.
        accepted: Statistics of the table in the last accepted snapshot, if there is one.
        environment: ``TRAINING``, or ``SERVING``, where the label is absent. A schema without environments requires
            all of its columns in both.
    """
    result = quiet.tfdv().validate_statistics(
        statistics,
        reviewed,
        environment=environment if environment in reviewed.default_environment else None,
        previous_statistics=accepted,
        serving_statistics=accepted,
    )
    anomalies = []
    for info in result.anomaly_info.values():
        column = info.path.step[0] if info.path.step else None
        for reason in info.reason:
            anomalies.append(_anomaly(source, column, type(info).Type.Name(reason.type), reason))
    if result.HasField("dataset_anomaly_info"):
        info = result.dataset_anomaly_info
        anomalies += [_anomaly(source, None, type(info).Type.Name(reason.type), reason) for reason in info.reason]
    return anomalies


def _anomaly(source: str, column: str | None, kind: str, reason: Any) -> Anomaly:
    subject = f"'{column}'" if column else "the table"
    details = " ".join(reason.description.split()).rstrip(".")
    if kind.startswith("COMPARATOR_"):
        sentence = (
            f"the distribution of {subject} differs from the last accepted snapshot ({details}); expected a smaller "
            "difference. Check what changed at the source, or raise the threshold in "
            f"feature_repo/schema/{source}.pbtxt."
        )
        return Anomaly(column, "drift", sentence)
    sentence = (
        f"{subject} violates the schema: {reason.short_description.lower()} ({details}); expected data that conforms "
        f"to feature_repo/schema/{source}.pbtxt. Correct the data or update the schema."
    )
    return Anomaly(column, "schema_anomalies", sentence)
