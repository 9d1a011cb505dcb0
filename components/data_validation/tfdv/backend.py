"""TensorFlow Data Validation as a backend of data validation."""

from collections.abc import Iterator, Mapping
from typing import Any

from components.data_validation.contract import Violation
from components.data_validation.exact import Exact, Table
from components.data_validation.tfdv import quiet, statistics


class TfdvBackend:
    """The library of TensorFlow Extended."""

    def __init__(self) -> None:
        """Refuse code in the types of a file, which TFDV's old pyarrow would run; Beam does so too late."""
        import pyarrow_hotfix  # noqa: F401

    def statistics(self, table: Table, exact: Exact, expected: Mapping[str, str]) -> Any:
        """Describe a table; one of more than ``statistics.SAMPLE_ROWS`` rows by a sample with a fixed seed."""
        computed = statistics.generate(table.path, exact.rows, expected)
        if exact.rows > statistics.SAMPLE_ROWS:
            statistics.correct(computed, exact)
        return computed

    def violations(
        self, statistics: Any, reviewed: Any, accepted: Any | None, environment: str | None
    ) -> Iterator[Violation]:
        """Compare statistics with a schema, and with accepted statistics if there are any."""
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

    def infer(self, statistics: Any) -> Any:
        """Infer a schema from statistics; a person must review it."""
        return quiet.tfdv().infer_schema(statistics, infer_feature_shape=False)


def _violations(info: Any, column: str | None) -> Iterator[Violation]:
    for reason in info.reason:
        details = " ".join(reason.description.split()).rstrip(".")
        yield Violation(column, type(info).Type.Name(reason.type), reason.short_description.lower(), details)
