"""Compare the statistics of a table with its schema: which columns there are, and what each one holds."""

from collections.abc import Iterator
from typing import Any

from components.data_validation.duckdb import comparators, domains, specification
from components.data_validation.duckdb.comparators import Control
from components.data_validation.duckdb.enums import name_of
from components.shared.tfdv.violations import Violation

_TYPES = {"INT": "INT", "FLOAT": "FLOAT", "STRING": "BYTES", "BYTES": "BYTES"}
_INACTIVE = ("PLANNED", "ALPHA", "DEPRECATED", "DEBUG_ONLY", "DISABLED")


def violations(statistics: Any, reviewed: Any, accepted: Any | None, environment: str | None) -> Iterator[Violation]:
    """Compare a table with its schema; a table without rows has nothing to compare."""
    dataset = statistics.datasets[0]
    if not dataset.num_examples:
        return
    columns, earlier = _by_name(dataset), _by_name(accepted.datasets[0]) if accepted is not None else None
    declared: dict[str, Any] = {}
    for feature in reviewed.feature:
        declared.setdefault(feature.name, feature)
    for name, column in columns.items():
        if name not in declared:
            yield Violation(name, "SCHEMA_NEW_COLUMN", "new column", "the schema does not have this column")
        elif _is_active(declared[name]):
            before = Control(earlier is not None, (earlier or {}).get(name))
            yield from _column(column, dataset.num_examples, declared[name], reviewed, before, environment)
    for name, feature in declared.items():
        if name not in columns and _is_required(feature, reviewed, environment):
            yield Violation(name, "SCHEMA_MISSING_COLUMN", "column dropped", "the table does not have this column")
    yield from comparators.compare_rows(dataset, reviewed, accepted)


def _by_name(dataset: Any) -> dict[str, Any]:
    return {feature.path.step[0]: feature for feature in dataset.features}


def _is_active(feature: Any) -> bool:
    return not feature.deprecated and name_of(feature, "lifecycle_stage") not in _INACTIVE


def _is_in(environment: str | None, feature: Any, reviewed: Any) -> bool:
    if environment is None or environment in feature.in_environment:
        return True
    return environment not in feature.not_in_environment and environment in reviewed.default_environment


def _is_required(feature: Any, reviewed: Any, environment: str | None) -> bool:
    expects_values = feature.presence.min_count > 0 or feature.presence.min_fraction > 0
    return _is_active(feature) and expects_values and _is_in(environment, feature, reviewed)


def _column(
    column: Any, rows: int, feature: Any, reviewed: Any, before: Control, environment: str | None
) -> Iterator[Violation]:
    name = feature.name
    usable = specification.check(feature, reviewed)
    yield from usable.violations
    if usable.type is None:
        return
    common = (column.string_stats if column.HasField("string_stats") else column.num_stats).common_stats
    if not common.num_non_missing:
        if _is_required(feature, reviewed, environment):
            yield Violation(name, "FEATURE_TYPE_NOT_PRESENT", "column dropped", "no row has a value")
        return
    if not _is_in(environment, feature, reviewed):
        details = f"the table has this column, the schema excludes it in the environment {environment}"
        yield Violation(name, "SCHEMA_NEW_COLUMN", "column missing in environment", details)
    yield from _number_of_values(feature)
    yield from _presence(feature, common.num_non_missing, common.num_missing, rows)
    kind = name_of(column, "type")
    if _TYPES[kind] != usable.type:
        details = f"the type is {kind}, the schema has {usable.type}"
        yield Violation(name, "UNEXPECTED_DATA_TYPE", "unexpected data type", details)
    if usable.has_domain:
        yield from domains.check(column, feature, reviewed)
    yield from _unique(column, feature)
    yield from comparators.compare(column, feature, before)


def _number_of_values(feature: Any) -> Iterator[Violation]:
    """Compare one value per row, which every table has, with the declared number."""
    count = feature.value_count
    if count.HasField("min") and count.min > 1:
        details = f"a row has one value, the schema expects {count.min} or more"
        yield Violation(feature.name, "FEATURE_TYPE_LOW_NUMBER_VALUES", "missing values", details)
    if count.HasField("max") and max(count.min, count.max) < 1:
        details = f"a row has one value, the schema allows {count.max}"
        yield Violation(feature.name, "FEATURE_TYPE_HIGH_NUMBER_VALUES", "superfluous values", details)


def _presence(feature: Any, present: int, missing: int, rows: int) -> Iterator[Violation]:
    presence = feature.presence
    if presence.HasField("min_count") and present < presence.min_count:
        details = f"{present} rows have a value, expected at least {presence.min_count}"
        yield Violation(feature.name, "FEATURE_TYPE_LOW_NUMBER_PRESENT", "column dropped", details)
    if feature.HasField("shape"):
        size = 1
        for dimension in feature.shape.dim:
            size *= dimension.size
        if missing or size != 1:
            details = f"a row has {'no value or one' if missing else 'one value'}, the schema expects always {size}"
            yield Violation(feature.name, "INVALID_FEATURE_SHAPE", "feature shape dropped", details)
    if presence.HasField("min_fraction"):
        share, expected = present / rows, min(1.0, max(0.0, presence.min_fraction))
        if (missing and share < expected) or (missing and expected == 1.0):
            details = f"the fraction of rows with a value is {share:.6g}, expected at least {expected:.6g}"
            yield Violation(feature.name, "FEATURE_TYPE_LOW_FRACTION_PRESENT", "column dropped", details)


def _unique(column: Any, feature: Any) -> Iterator[Violation]:
    if not feature.HasField("unique_constraints"):
        return
    limits = feature.unique_constraints
    if not column.HasField("string_stats"):
        details = "the schema limits the number of different values, which are counted for text only"
        yield Violation(feature.name, "FEATURE_TYPE_NO_UNIQUE", "no unique values", details)
        return
    unique = column.string_stats.unique
    if unique < limits.min:
        details = f"{unique} different values, expected at least {limits.min}"
        yield Violation(feature.name, "FEATURE_TYPE_LOW_UNIQUE", "low number of unique values", details)
    if unique > limits.max:
        details = f"{unique} different values, expected at most {limits.max}"
        yield Violation(feature.name, "FEATURE_TYPE_HIGH_UNIQUE", "high number of unique values", details)
