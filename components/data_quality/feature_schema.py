"""The schema of the features that requests carry, which the reviewed schemas of the sources only say in part.

A feature has the constraints of the reviewed column of its name, in the first source that has one of its type, as far
as the champion's test rows keep them: a view may compute something else under the same name. What no reviewed column
says, TFDV infers from the test rows. Such a constraint is an observation, so it tolerates a few exceptions.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from components.shared.tfdv import quiet, schema, statistics

_TOLERATED = 0.01
"""Share of the rows that may violate what was only observed."""
_NUMERIC_DOMAINS = ("int_domain", "float_domain")


class FeatureSchema:
    """What is expected of each feature.

    Args:
        reviewed: The reviewed schema of each source.
        test_rows: The features of the champion's test rows, at least one row.
    """

    def __init__(self, reviewed: Mapping[str, Any], test_rows: pa.Table) -> None:
        from tensorflow_metadata.proto.v0 import schema_pb2

        self._sources: dict[str, str] = {}
        declared = schema_pb2.Schema()
        kinds = _kinds(statistics.of_batches(test_rows.to_batches(), {}))
        for name in test_rows.column_names:
            self._take(declared, name, reviewed, kinds, test_rows[name])
        self.types = schema.types(declared)
        conforming = statistics.of_batches(typed(test_rows, self.types).to_batches(), self.types)
        self.proto = _tolerant(declared, quiet.tfdv().update_schema(declared, conforming), test_rows)

    def source(self, column: str) -> str | None:
        """Return the source whose reviewed schema a feature is held to; None if none names it."""
        return self._sources.get(column)

    def _take(
        self, declared: Any, name: str, reviewed: Mapping[str, Any], kinds: Mapping[str, str], values: pa.ChunkedArray
    ) -> None:
        """Copy the constraints of the first reviewed column with a feature's name and type."""
        for source, one in sorted(reviewed.items()):
            for column in one.feature:
                expected = schema.types(one).get(column.name)
                fits = expected == kinds.get(name) or (expected == "INT" and is_whole(values))
                if column.name == name and fits:
                    declared.feature.append(column)
                    declared.string_domain.extend(
                        domain for domain in one.string_domain if domain.name == column.domain
                    )
                    self._sources[name] = source
                    return


def typed(table: pa.Table, types: Mapping[str, str]) -> pa.Table:
    """Turn numbers, which the log holds as floats, into integers where these are expected and all are whole."""
    for position, name in enumerate(table.column_names):
        if types.get(name) == "INT" and pa.types.is_floating(table[name].type) and is_whole(table[name]):
            table = table.set_column(position, name, table[name].cast(pa.int64()))
    return table


def is_whole(values: pa.ChunkedArray) -> bool:
    """Return whether all known numbers of a column are integers that a float holds exactly."""
    if not pa.types.is_floating(values.type):
        return bool(pa.types.is_integer(values.type))
    known = values.drop_null().to_numpy()
    return bool(((known == known.round()) & (abs(known) <= 2**53)).all())


def _kinds(computed: Any) -> dict[str, str]:
    """Return the type of each column in the words of a schema."""
    names: Sequence[str] = ("INT", "FLOAT", "BYTES")
    return {one.path.step[0]: names[one.type] for one in computed.datasets[0].features if one.type < len(names)}


def _tolerant(declared: Any, observed: Any, test_rows: pa.Table) -> Any:
    """Let what was only observed have a few exceptions, and observed numbers any size: the next one may be larger.

    A column of which many values were seen once has more values than were seen, so it gets no domain: the share of the
    rows with such values estimates that of values that are yet to come (Good, "The population frequencies of species",
    Biometrika 1953).
    """
    before = {column.name: column for column in declared.feature}
    for column in observed.feature:
        former = before.get(column.name)
        if former is None or former.presence != column.presence:
            column.presence.min_fraction = max(column.presence.min_fraction - _TOLERATED, 0.0)
        if former is None and (column.domain or column.HasField("string_domain")):
            column.distribution_constraints.min_domain_mass = 1 - _TOLERATED
            if _share_seen_once(test_rows[column.name]) > _TOLERATED:
                column.ClearField("domain")
                column.ClearField("string_domain")
                column.ClearField("distribution_constraints")
        for domain in _NUMERIC_DOMAINS:
            if column.HasField(domain) and (former is None or getattr(former, domain) != getattr(column, domain)):
                column.ClearField(domain)
    return observed


def _share_seen_once(values: pa.ChunkedArray) -> float:
    counts = pc.value_counts(values.drop_null()).field("counts")
    return int(pc.sum(pc.equal(counts, 1)).as_py() or 0) / max(len(values), 1)
