"""Compare the values of a column with the domain that its schema declares."""

import math
import re
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np

from components.data_validation.duckdb.distances import counts
from components.data_validation.duckdb.enums import name_of
from components.shared.tfdv.violations import Violation

_VALUES_MAX = 400
_NAMED = 20
_INTEGER = re.compile(r"\s*[+-]?[0-9]+\s*")
_INT64 = range(-(2**63), 2**63)

_T = TypeVar("_T", int, float)


def check(column: Any, feature: Any, schema: Any) -> Iterator[Violation]:
    """Compare a column with its domain; domains that only describe a meaning, as of times, are not checked."""
    kind = feature.WhichOneof("domain_info")
    if kind == "domain":
        yield from _texts(column, feature, next(each for each in schema.string_domain if each.name == feature.domain))
    elif kind == "string_domain":
        yield from _texts(column, feature, feature.string_domain)
    elif kind == "bool_domain":
        yield from _truth_values(column, feature)
    elif kind == "int_domain":
        yield from _integers(column, feature)
    elif kind == "float_domain":
        yield from _numbers(column, feature)


def _texts(column: Any, feature: Any, domain: Any) -> Iterator[Violation]:
    allowed = set(domain.value)
    unknown = {value: count for value, count in sorted(counts(column).items()) if value not in allowed}
    constraints = feature.distribution_constraints
    tolerated = 1 - constraints.min_domain_mass if constraints.HasField("min_domain_mass") else 0.0
    total = column.string_stats.common_stats.tot_num_values
    if unknown and (not tolerated or sum(unknown.values()) / total > tolerated):
        named = ", ".join(f"{value!r} in {count / total:.1%}" for value, count in list(unknown.items())[:_NAMED])
        more = f" and {len(unknown) - _NAMED} more" if len(unknown) > _NAMED else ""
        details = f"the schema does not have the values {named}{more}"
        yield Violation(feature.name, "ENUM_TYPE_UNEXPECTED_STRING_VALUES", "unexpected string values", details)
        allowed |= set(unknown)
    if len(allowed) > _VALUES_MAX:
        details = f"the domain has {len(allowed)} values, expected at most {_VALUES_MAX}"
        yield Violation(feature.name, "INVALID_DOMAIN_SPECIFICATION", "string domain has too many values", details)


def _truth_values(column: Any, feature: Any) -> Iterator[Violation]:
    kind, numbers = name_of(column, "type"), column.num_stats
    if kind == "INT":
        for value, is_outside, code in (
            (numbers.min, numbers.min < 0, "BOOL_TYPE_SMALL_INT"),
            (numbers.max, numbers.max > 1, "BOOL_TYPE_BIG_INT"),
        ):
            if is_outside:
                yield Violation(feature.name, code, "non-boolean values", f"{value:.6g} is neither 0 nor 1")
                return
    elif kind == "FLOAT":
        strange = next((value for value in _values(numbers) if value not in (0.0, 1.0)), None)
        if strange is not None:
            details = f"{strange:.6g} is neither 0 nor 1"
            yield Violation(feature.name, "BOOL_TYPE_UNEXPECTED_FLOAT", "non-boolean values", details)
    else:
        domain = feature.bool_domain
        allowed = [getattr(domain, name) for name in ("true_value", "false_value") if domain.HasField(name)]
        strange_text = next((value for value in sorted(counts(column)) if value not in allowed), None)
        if strange_text is not None:
            details = f"{strange_text!r} is none of {allowed}"
            yield Violation(feature.name, "BOOL_TYPE_UNEXPECTED_STRING", "non-boolean values", details)


def _values(numbers: Any) -> Iterator[float]:
    """Return some numbers of a column, among them one that is neither 0 nor 1 where statistics show that there is one.

    Few values between 0 and 1 may be in no quantile.
    """
    yield from (numbers.min, numbers.max)
    for histogram in numbers.histograms:
        if histogram.num_nan:
            yield math.nan
        if name_of(histogram, "type") == "QUANTILES":
            inner = (b for b in histogram.buckets if b.sample_count and b.low_value > 0 and b.high_value < 1)
            yield from (bucket.low_value for bucket in inner)


def _integers(column: Any, feature: Any) -> Iterator[Violation]:
    kind, domain = name_of(column, "type"), feature.int_domain
    if kind == "FLOAT":
        return
    low, high = int(column.num_stats.min), int(column.num_stats.max)
    if kind == "STRING":
        parsed, unread = _parsed(column, _as_integer)
        if unread is not None:
            details = f"the value {unread!r} is no integer"
            yield Violation(feature.name, "INT_TYPE_NOT_INT_STRING", "invalid values", details)
            return
        low, high = min(parsed), max(parsed)
    if domain.HasField("min") and low < domain.min:
        details = f"the smallest value is {low}, expected at least {domain.min}"
        yield Violation(feature.name, "INT_TYPE_SMALL_INT", "out-of-range values", details)
    if domain.HasField("max") and high > domain.max:
        details = f"the largest value is {high}, expected at most {domain.max}"
        yield Violation(feature.name, "INT_TYPE_BIG_INT", "out-of-range values", details)


def _numbers(column: Any, feature: Any) -> Iterator[Violation]:
    kind, domain = name_of(column, "type"), feature.float_domain
    if kind == "INT":
        return
    has_missing = any(histogram.num_nan for histogram in column.num_stats.histograms)
    low, high = column.num_stats.min, column.num_stats.max
    if kind == "STRING":
        parsed, unread = _parsed(column, _as_float)
        if unread is not None:
            details = f"the value {unread!r} is no number"
            yield Violation(feature.name, "FLOAT_TYPE_STRING_NOT_FLOAT", "invalid values", details)
            return
        has_missing = any(map(math.isnan, parsed))
        low, high = min(parsed), max(parsed)
    if domain.disallow_nan and has_missing:
        yield Violation(feature.name, "FLOAT_TYPE_HAS_NAN", "invalid values", "some numbers are NaN")
    # A schema holds numbers in single precision.
    low, high = float(np.float32(low)), float(np.float32(high))
    if domain.HasField("min") and low < domain.min:
        details = f"the smallest value is {low:.6g}, expected at least {domain.min:.6g}"
        yield Violation(feature.name, "FLOAT_TYPE_SMALL_FLOAT", "out-of-range values", details)
    if domain.HasField("max") and high > domain.max:
        details = f"the largest value is {high:.6g}, expected at most {domain.max:.6g}"
        yield Violation(feature.name, "FLOAT_TYPE_BIG_FLOAT", "out-of-range values", details)
    if domain.disallow_inf and (math.isinf(low) or math.isinf(high)):
        yield Violation(feature.name, "FLOAT_TYPE_HAS_INF", "invalid values", "some numbers are infinite")


def _parsed(column: Any, parse: Callable[[str], _T | None]) -> tuple[list[_T], str | None]:
    """Read the values of a text column as numbers; the second is one that can't be read."""
    parsed = {value: parse(value) for value in sorted(counts(column))}
    unread = next((value for value, number in parsed.items() if number is None), None)
    return [number for number in parsed.values() if number is not None], unread


def _as_integer(text: str) -> int | None:
    if not _INTEGER.fullmatch(text):
        return None
    return number if (number := int(text)) in _INT64 else None


def _as_float(text: str) -> float | None:
    try:
        return float(text) if text.isascii() and "_" not in text else None
    except ValueError:
        return None


def is_integer(text: str) -> bool:
    """Return whether a text is a whole number of 64 bits."""
    return _as_integer(text) is not None
