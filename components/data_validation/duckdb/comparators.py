"""Compare statistics with those of the last accepted snapshot, where the schema has a comparator."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from components.data_validation.duckdb import distances
from components.data_validation.duckdb.enums import name_of
from components.shared.tfdv.violations import Violation


@dataclass(frozen=True)
class Control:
    """What a column is compared with."""

    is_accepted: bool
    """Whether a snapshot was accepted before."""
    column: Any | None
    """Statistics of the column in it; None if it did not have this column."""


def compare(column: Any, feature: Any, control: Control) -> Iterator[Violation]:
    """Compare a column by its drift comparator and its skew comparator."""
    for comparator in (feature.drift_comparator, feature.skew_comparator):
        limits = {
            name: getattr(comparator, name).threshold
            for name in ("infinity_norm", "normalized_abs_difference", "jensen_shannon_divergence")
            if getattr(comparator, name).HasField("threshold")
        }
        if not limits or not control.is_accepted:
            continue
        if control.column is None:
            details = "the accepted snapshot does not have this column"
            yield Violation(feature.name, "COMPARATOR_CONTROL_DATA_MISSING", "nothing to compare with", details)
            continue
        yield from _distances(column, feature, control.column, comparator, limits)


def _distances(
    column: Any, feature: Any, before: Any, comparator: Any, limits: dict[str, float]
) -> Iterator[Violation]:
    sides = distances.counts(column), distances.counts(before)
    for name, code, is_pooled in (
        ("infinity_norm", "COMPARATOR_L_INFTY_HIGH", False),
        ("normalized_abs_difference", "COMPARATOR_NORMALIZED_ABSOLUTE_DIFFERENCE_HIGH", True),
    ):
        if name not in limits:
            continue
        value, distance = distances.largest_difference(*sides, is_pooled=is_pooled)
        if distance > limits[name]:
            details = f"the share of {value!r} differs by {distance:.6g}, above the threshold {limits[name]:.6g}"
            yield Violation(feature.name, code, "changed distribution", details)
    if (limit := limits.get("jensen_shannon_divergence")) is not None:
        selected = name_of(comparator.jensen_shannon_divergence.source, "type")
        source = "QUANTILES" if selected == "QUANTILES" else "STANDARD"
        divergence = distances.divergence(column, before, source)
        if divergence is not None and divergence > limit:
            details = f"the Jensen-Shannon divergence is {divergence:.6g}, above the threshold {limit:.6g}"
            code = "COMPARATOR_JENSEN_SHANNON_DIVERGENCE_HIGH"
            yield Violation(feature.name, code, "changed distribution", details)


def compare_rows(dataset: Any, reviewed: Any, accepted: Any | None) -> Iterator[Violation]:
    """Compare the number of rows with the accepted one, and with what the schema expects."""
    constraints = reviewed.dataset_constraints
    rows = dataset.num_examples
    comparator = constraints.num_examples_drift_comparator
    if accepted is not None:
        before = accepted.datasets[0].num_examples
        if comparator.HasField("max_fraction_threshold") and rows > comparator.max_fraction_threshold * before:
            details = (
                f"{rows} rows after {before}, expected at most {comparator.max_fraction_threshold:.6g} times as many"
            )
            yield Violation(None, "COMPARATOR_HIGH_NUM_EXAMPLES", "many rows", details)
        if comparator.HasField("min_fraction_threshold") and rows < comparator.min_fraction_threshold * before:
            details = (
                f"{rows} rows after {before}, expected at least {comparator.min_fraction_threshold:.6g} times as many"
            )
            yield Violation(None, "COMPARATOR_LOW_NUM_EXAMPLES", "few rows", details)
    if constraints.HasField("min_examples_count"):
        if rows < constraints.min_examples_count:
            details = f"{rows} rows, expected at least {constraints.min_examples_count}"
            yield Violation(None, "DATASET_LOW_NUM_EXAMPLES", "few rows", details)
        if constraints.HasField("max_examples_count") and rows > constraints.max_examples_count:
            details = f"{rows} rows, expected at most {constraints.max_examples_count}"
            yield Violation(None, "DATASET_HIGH_NUM_EXAMPLES", "many rows", details)
