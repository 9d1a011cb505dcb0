"""What a schema says about a column that can't be meant: it is reported as a violation, and not applied."""

from dataclasses import dataclass
from typing import Any

from components.data_validation.duckdb.enums import name_of
from components.shared.tfdv.violations import Violation

_TYPES_OF_DOMAIN = {
    "domain": {"BYTES"},
    "string_domain": {"BYTES"},
    "bool_domain": {"INT", "BYTES", "FLOAT"},
    "int_domain": {"INT", "BYTES"},
    "float_domain": {"FLOAT", "BYTES"},
    "mid_domain": {"BYTES"},
    "url_domain": {"BYTES"},
    "time_domain": {"INT", "BYTES"},
}


@dataclass(frozen=True)
class Usable:
    """What of a column's schema can be applied; ``type`` is None where nothing can."""

    violations: tuple[Violation, ...]
    type: str | None
    has_domain: bool


def check(feature: Any, schema: Any) -> Usable:
    """Check what the schema says about a column against itself."""
    problems: list[Violation] = []

    def report(kind: str, details: str) -> None:
        problems.append(Violation(feature.name, kind, "invalid schema", details))

    domain = feature.WhichOneof("domain_info")
    type_ = name_of(feature, "type")
    if not feature.HasField("type"):
        report("FEATURE_MISSING_TYPE", "the column has no type")
        if domain not in ("domain", "string_domain"):
            return Usable(tuple(problems), None, False)
        type_ = "BYTES"
    if not 0 <= feature.presence.min_fraction <= 1:
        report("INVALID_SCHEMA_SPECIFICATION", "presence.min_fraction is not between 0 and 1")
    if feature.value_count.min < 0:
        report("INVALID_SCHEMA_SPECIFICATION", "value_count.min is negative")
    if feature.value_count.HasField("max") and feature.value_count.max < max(0, feature.value_count.min):
        report("INVALID_SCHEMA_SPECIFICATION", "value_count.max is below value_count.min")
    if any(dimension.size <= 0 for dimension in feature.shape.dim):
        report("INVALID_SCHEMA_SPECIFICATION", "a dimension of shape is not positive")
    if domain is not None and type_ not in _TYPES_OF_DOMAIN[domain]:
        report("DOMAIN_INVALID_FOR_TYPE", f"{domain} does not fit the type {type_}")
        domain = None
    if domain == "domain" and feature.domain not in {each.name for each in schema.string_domain}:
        report("INVALID_DOMAIN_SPECIFICATION", f"the schema has no string_domain named {feature.domain!r}")
        domain = None
    elif feature.HasField("distribution_constraints") and domain not in ("domain", "string_domain"):
        report("INVALID_SCHEMA_SPECIFICATION", "distribution_constraints need a domain or string_domain")
    return Usable(tuple(problems), type_, domain is not None)
