"""Where a table's statistics break its schema or differ from the last accepted ones."""

from typing import Any

from components.data_validation import quiet, schema
from components.data_validation.finding import Noted


def find(
    statistics: Any, reviewed: Any, source: str, accepted: Any | None = None, environment: str = schema.TRAINING
) -> list[Noted]:
    """Compare statistics with a schema, and with accepted statistics if there are any.

    Args:
        statistics: Of the table at hand.
        reviewed: The schema, with the comparisons it asks for.
        source: The table's name, for the sentences.
        accepted: Statistics of the last accepted snapshot of the same table.
        environment: What the schema requires differs between ``TRAINING`` and ``SERVING``, where the label is absent;
            a schema without environments requires all of its columns everywhere.
    """
    result = quiet.tfdv().validate_statistics(
        statistics,
        reviewed,
        environment=environment if environment in reviewed.default_environment else None,
        previous_statistics=accepted,
        serving_statistics=accepted,
    )
    noted = []
    for info in result.anomaly_info.values():
        column = info.path.step[0] if info.path.step else None
        for reason in info.reason:
            noted.append(_noted(source, column, type(info).Type.Name(reason.type), reason))
    if result.HasField("dataset_anomaly_info"):
        info = result.dataset_anomaly_info
        noted += [_noted(source, None, type(info).Type.Name(reason.type), reason) for reason in info.reason]
    return noted


def _noted(source: str, column: str | None, kind: str, reason: Any) -> Noted:
    what = f"'{column}'" if column else "the table"
    said = " ".join(reason.description.split()).rstrip(".")
    if kind.startswith("COMPARATOR_"):
        sentence = (
            f"{what} is not distributed as in the last accepted snapshot ({said}); expected a smaller difference. "
            "See what changed at its source, or raise validation.drift_threshold."
        )
        return Noted(column, "drift", sentence)
    sentence = (
        f"{what} breaks the schema, {reason.short_description.lower()} ({said}); expected what "
        f"feature_repo/schema/{source}.pbtxt says. Correct the data, or review the schema."
    )
    return Noted(column, "schema_anomalies", sentence)
