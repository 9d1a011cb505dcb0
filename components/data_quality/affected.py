"""How many rows a violation concerns, which TFDV only says in words."""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

_WHOLE = ("SCHEMA_MISSING_COLUMN", "FEATURE_TYPE_NOT_PRESENT")
_TYPE = "UNEXPECTED_DATA_TYPE"
_INT = 2
"""``FeatureType.INT`` of TensorFlow Metadata."""
_MISSING = ("FEATURE_TYPE_LOW_FRACTION_PRESENT", "FEATURE_TYPE_LOW_NUMBER_PRESENT")


def share(kind: str, values: pa.ChunkedArray | None, expected: Any, schema: Any) -> float | None:
    """Return the share of the rows that violate the schema, beyond the share that it allows.

    Args:
        kind: TFDV's type of the anomaly.
        values: The column, at least one row; None if it is absent.
        expected: The column in the schema.
        schema: The schema, with its domains.

    Returns:
        A share from 0 to 1; None for a kind of violation that no single row shows.
    """
    if values is not None and kind == _TYPE and expected.type == _INT and pa.types.is_floating(values.type):
        # The log holds numbers as floats: those that are whole are the integers that were expected.
        return float(pc.sum(pc.not_equal(values, pc.round(values))).as_py() or 0) / len(values)
    if kind in (*_WHOLE, _TYPE) or values is None:
        return 1.0
    if kind in _MISSING:
        missing, allowed = values.null_count / len(values), 1 - float(expected.presence.min_fraction)
        return float(max(missing - allowed, 0.0))
    outside = _outside(values, expected, schema)
    if outside is None:
        return None
    allowed = 0.0
    if expected.HasField("distribution_constraints"):
        allowed = 1 - float(expected.distribution_constraints.min_domain_mass)
    return max(int(pc.sum(outside).as_py() or 0) / len(values) - allowed, 0.0)


def _outside(values: pa.ChunkedArray, expected: Any, schema: Any) -> pa.ChunkedArray | None:
    """Return for each row whether a known value is outside the domain; None without a domain."""
    domain = next((one for one in schema.string_domain if one.name == expected.domain), expected.string_domain)
    if domain.value and pa.types.is_string(values.type):
        return pc.and_(pc.is_valid(values), pc.invert(pc.is_in(values, pa.array(list(domain.value)))))
    if pa.types.is_string(values.type):
        return None
    limits = _limits(expected)
    numbers = values.cast(pa.float64())
    return None if limits is None else pc.or_(pc.less(numbers, limits[0]), pc.greater(numbers, limits[1]))


def _limits(expected: Any) -> tuple[float, float] | None:
    """Return the smallest and the largest number of a domain; TFDV takes an absent limit for none."""
    kind = expected.WhichOneof("domain_info")
    if kind == "bool_domain":
        return 0.0, 1.0
    if kind not in ("int_domain", "float_domain"):
        return None
    domain = getattr(expected, kind)
    low = float(domain.min) if domain.HasField("min") else float("-inf")
    return low, float(domain.max) if domain.HasField("max") else float("inf")
