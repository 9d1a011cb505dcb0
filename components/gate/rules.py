"""The gate's rules: each looks at one thing that was measured, and says pass or fail in one sentence with its numbers.

A value equal to its bound passes, except that "better than the rule" means better. Nothing here stops at the first
broken rule. ``phase`` names where to go back to: data, features, tuning, training or evaluation.
"""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from components.shared.errors import InputError
from components.shared.project import Gate

Measured = Mapping[str, Any]


@dataclass(frozen=True)
class Ruling:
    """One rule, judged."""

    rule: str
    passed: bool
    reason: str
    phase: str


def enough_rows(gate: Gate, measured: Measured) -> Iterator[Ruling]:
    """Too few test rows prove nothing."""
    rows, wanted = measured["rows"]["test"], gate.min_test_rows
    excluded = measured["rows"].get("excluded_seen", 0)
    aside = f"; {excluded:,} were excluded as seen in training" if excluded else ""
    yield Ruling("test rows", rows >= wanted, f"{rows:,} test rows, {wanted:,} needed{aside}", "data")


def comparisons(gate: Gate, measured: Measured) -> Iterator[Ruling]:
    """Compare with rule and plain model before the first release, with the champion after it."""
    against = measured["comparisons"]
    if against["champion"] is not None:
        if gate.champion_margin is not None:
            yield _non_inferior(
                "champion", "the champion", against["champion"], gate.champion_margin, measured, "training"
            )
        return
    if gate.beat_rule:
        yield _better(against["rule"], measured)
    if gate.plain_margin is not None:
        yield _non_inferior("plain model", "the plain model", against["plain"], gate.plain_margin, measured, "tuning")


def floors(gate: Gate, measured: Measured) -> Iterator[Ruling]:
    """Hold metrics to their lowest values."""
    for name, bound in gate.floors.items():
        value = _metric(name, measured, "floors", better_high=True)
        reason = _against_bound(name, value, bound, "at least")
        yield Ruling(f"floor {name}", value is not None and value >= bound, reason, "features")


def ceilings(gate: Gate, measured: Measured) -> Iterator[Ruling]:
    """Hold metrics to their highest values."""
    for name, bound in gate.ceilings.items():
        value = _metric(name, measured, "ceilings", better_high=False)
        reason = _against_bound(name, value, bound, "at most")
        yield Ruling(f"ceiling {name}", value is not None and value <= bound, reason, "features")


def slices(gate: Gate, measured: Measured) -> Iterator[Ruling]:
    """Hold every declared slice to the largest tolerated loss against all rows.

    A loss that may be chance (its interval reaches 0) breaks nothing. The worst slice that was searched for is only
    reported: among many there is always one, and inside a telling feature's own values every model ranks worse.
    """
    if gate.slice_gap is None:
        return
    sign, better_end = (1.0, "difference_high") if measured["higher_is_better"] else (-1.0, "difference_low")
    judged = [one for one in measured["slices"] if one["difference"] is not None and one[better_end] is not None]
    certain = [one for one in judged if sign * one[better_end] < 0]
    if not certain:
        reason = f"none of {len(judged)} slices with enough rows is worse than all rows beyond chance"
        yield Ruling("slices", True, reason, "data")
        return
    one = min(certain, key=lambda found: sign * found["difference"])
    loss = -sign * one["difference"]
    where = " and ".join(f"{column} = {value}" for column, value in one["where"].items())
    reason = (
        f"{where} ({one['rows']:,} rows) loses {_number(loss)} {measured['primary']} against all rows, "
        f"the most of {len(judged)} slices; at most {_number(gate.slice_gap)} allowed"
    )
    yield Ruling("slices", loss <= gate.slice_gap, reason, "data")


def fairness(gate: Gate, measured: Measured) -> Iterator[Ruling]:
    """Hold the gap in selection rate between the groups of each declared column to its bound."""
    if gate.fairness_gap is None:
        return
    if not measured["fairness"]:
        raise InputError(
            "'gate: fairness_gap' is set, but no groups were compared; name their columns in 'evaluation: fairness', "
            "or drop the rule."
        )
    for one in measured["fairness"]:
        gap, name = one["demographic_parity_difference"], f"fairness {one['column']}"
        if gap is None:
            compared = "fewer than two groups have enough rows and a selection rate to compare"
            yield Ruling(name, False, f"the groups of '{one['column']}' were not judged: {compared}", "data")
            continue
        bound = _number(gate.fairness_gap)
        reason = f"selection rates of '{one['column']}' differ by {_number(gap)}, at most {bound} allowed"
        yield Ruling(name, gap <= gate.fairness_gap, reason, "features")


def value(gate: Gate, measured: Measured) -> Iterator[Ruling]:
    """Acting on the model must not lose money on the test rows."""
    if not gate.value_positive:
        return
    worth = measured["value"]
    if worth is None:
        raise InputError(
            "'gate: value_positive' is set, but no value was measured; declare 'value' for a binary task, "
            "or drop the rule."
        )
    reason = (
        f"acting on the model is worth {worth['total']:,.2f} {worth['currency']} on the test rows, 0 or more needed"
    )
    yield Ruling("value", worth["total"] >= 0, reason, "training")


def costs(gate: Gate, measured: Measured) -> Iterator[Ruling]:
    """Hold latency and size to their bounds."""
    cost = measured["cost"]
    if gate.latency_ms is not None:
        taken = cost["latency_ms_p50"]
        reason = f"one row takes {_number(taken)} ms (median), at most {_number(gate.latency_ms)} ms allowed"
        yield Ruling("latency", taken <= gate.latency_ms, reason, "tuning")
    if gate.size_mib is not None:
        size = cost["size_mib"]
        reason = f"the exported model has {_number(size)} MiB, at most {_number(gate.size_mib)} MiB allowed"
        yield Ruling("size", size <= gate.size_mib, reason, "tuning")


ALL = (enough_rows, comparisons, floors, ceilings, slices, fairness, value, costs)


def _better(found: Mapping[str, Any], measured: Measured) -> Ruling:
    worse_end = _worse_end(found, measured)
    reason = f"{_compared(found, measured)} the rule of thumb; the worse end must be better than 0"
    return Ruling("rule", worse_end is not None and worse_end > 0, reason, "features")


def _non_inferior(
    name: str, other: str, found: Mapping[str, Any], margin: float, measured: Measured, phase: str
) -> Ruling:
    worse_end = _worse_end(found, measured)
    reason = f"{_compared(found, measured)} {other}; the worse end may lose at most {_number(margin)}"
    return Ruling(name, worse_end is not None and worse_end >= -margin, reason, phase)


def _worse_end(found: Mapping[str, Any], measured: Measured) -> float | None:
    """Return the pessimistic bound of the advantage: more is better, whatever the metric's direction."""
    bound = found["low"] if measured["higher_is_better"] else found["high"]
    return bound if bound is None or measured["higher_is_better"] else -bound


def _compared(found: Mapping[str, Any], measured: Measured) -> str:
    if None in (found["difference"], found["low"], found["high"]):
        return f"{found['metric']} has no interval on these test rows to compare with"
    percent = f"{100 * measured['confidence']:g} %"
    direction = "" if measured["higher_is_better"] else " (lower is better)"
    return (
        f"{found['metric']}{direction} differs by {found['difference']:+.4f} "
        f"({percent} interval {found['low']:+.4f} to {found['high']:+.4f}) from"
    )


def _metric(name: str, measured: Measured, section: str, *, better_high: bool) -> float | None:
    """Look a metric up; a name that was not measured, or has the other direction, is a mistake in the project file."""
    values = {metric: found["value"] for metric, found in measured["metrics"].items()}
    directions = dict(measured.get("directions", {}))
    if measured["calibration"] is not None:
        values["ece"], directions["ece"] = measured["calibration"]["ece"], False
    if name not in values:
        near = difflib.get_close_matches(name, values, 1)
        hint = f"did you mean '{near[0]}'?" if near else "name one of these, or drop it."
        raise InputError(
            f"'gate: {section}' names '{name}', which was not measured; measured were {sorted(values)}; {hint}"
        )
    if directions.get(name) is (not better_high):
        other, word = ("ceilings", "lower") if better_high else ("floors", "higher")
        raise InputError(f"'gate: {section}' names '{name}', of which {word} is better; put it under 'gate: {other}'.")
    return values[name]


def _against_bound(name: str, value: float | None, bound: float, words: str) -> str:
    found = "is undefined on the test rows" if value is None else f"is {_number(value)}"
    return f"{name} {found}, {words} {_number(bound)} needed"


def _number(value: float) -> str:
    """Four significant digits, without an exponent for common sizes."""
    return f"{value:.4g}"
