"""Infer a schema from statistics: type, presence and domain of each column."""

from typing import Any

from components.data_validation.duckdb.distances import counts
from components.data_validation.duckdb.domains import is_integer
from components.data_validation.duckdb.enums import name_of

_DOMAIN_VALUES = 100
_TRUE = {"TRUE", "true", "SET", "set", "1", ""}
_FALSE = {"FALSE", "false", "CLEAR", "clear", "0"}


def infer(statistics: Any) -> Any:
    """Infer a schema; the domain of a text column is what it holds, if that is at most 100 values."""
    from tensorflow_metadata.proto.v0 import schema_pb2

    schema = schema_pb2.Schema()
    for column in statistics.datasets[0].features:
        feature = schema.feature.add(name=column.path.step[0])
        kind = name_of(column, "type")
        feature.type = schema_pb2.FeatureType.Value("BYTES" if kind == "STRING" else kind)
        common = (column.string_stats if kind == "STRING" else column.num_stats).common_stats
        feature.presence.min_count = min(1, common.num_non_missing)
        if not common.num_non_missing:
            continue
        if not common.num_missing:
            feature.presence.min_fraction = 1.0
        feature.value_count.min, feature.value_count.max = 1, 1
        if kind == "STRING":
            _add_text_domain(feature, schema, sorted(counts(column)))
        elif kind == "INT" and column.num_stats.min >= 0 and column.num_stats.max == 1:
            feature.bool_domain.SetInParent()
    return schema


def _add_text_domain(feature: Any, schema: Any, values: list[str]) -> None:
    true, false = ([value for value in values if value in words] for words in (_TRUE, _FALSE))
    if len(values) == len(true) + len(false) and max(len(true), len(false)) == 1:
        feature.bool_domain.SetInParent()
        if true:
            feature.bool_domain.true_value = true[0]
        if false:
            feature.bool_domain.false_value = false[0]
    elif all(map(is_integer, values)):
        feature.int_domain.SetInParent()
    elif len(values) <= _DOMAIN_VALUES:
        schema.string_domain.add(name=feature.name, value=values)
        feature.domain = feature.name
