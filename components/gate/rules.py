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
            yield _non_inferior("champion", "the champion", against["champion"], gate.champion_margin, measured, "training")
        return
    if gate.beat_rule:
        yield _better("rule", against["rule"], measured)
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
    """Hold every declared slice, and the worst one found if its loss is beyond chance, to the largest tolerated loss."""
    if gate.slice_gap is None:
        return
    judged = list(measured["slices"])
    worst = measured["worst"]
    if worst is not None and worst.get("beyond_chance", True):
        judged.append(worst)
    sign = _sign(measured)
    losses = [(-sign * one["difference"], one) for one in judged if one["difference"] is not None]
    if not losses:
        yield Ruling("slices", True, "no slice with enough rows is worse than all rows beyond chance", "data")
        return
    loss, one = max(losses, key=lambda pair: pair[0])
    where = " and ".join(f"{column} = {value}" for column, value in one["where"].items())
    reason = (
        f"{where} ({one['rows']:,} rows) loses {_number(max(loss, 0.0))} {measured['primary']} against all rows, "
        f"at most {_number(gate.slice_gap)} allowed"
    )
    yield Ruling("slices", loss <= gate.slice_gap, reason, "data")


def fairness(gate: Gate, measured: Measured) -> Iterator[Ruling]:
    """Hold the gap in selection rate between the groups of each declared column to its bound."""
    if gate.fairness_gap is None:
        return
    if not measured["fairness"]:
        raise InputError(
            "the gate has a fairness_gap, but no groups were compared; name their columns in 'evaluation: fairness', "
            "or drop 'gate: fairness_gap'."
        )
    for one in measured["fairness"]:
        gap, name = one["demographic_parity_difference"], f"fairness {one['column']}"
        if gap is None:
            compared = "fewer than two groups have enough rows and a selection rate to compare"
            yield Ruling(name, False, f"the groups of '{one['column']}' were not judged: {compared}", "data")
            continue
        reason = f"selection rates of '{one['column']}' differ by {_number(gap)}, at most {_number(gate.fairness_gap)} allowed"
        yield Ruling(name, gap <= gate.fairness_gap, reason, "features")


def value(gate: Gate, measured: Measured) -> Iterator[Ruling]:
    """Acting on the model must not lose money on the test rows."""
    if not gate.value_positive:
        return
    worth = measured["value"]
    if worth is None:
        raise InputError(
            "the gate has value_positive, but no value was measured; declare 'value' for a binary task, "
            "or drop 'gate: value_positive'."
        )
    reason = f"acting on the model is worth {worth['total']:,.2f} {worth['currency']} on the test rows, 0 or more needed"
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


def _better(name: str, found: Mapping[str, Any], measured: Measured) -> Ruling:
    advantage, low = _advantage(found, measured)
    reason = f"{_margin_text(found, advantage, low, measured)} against the rule of thumb, more than 0 needed"
    return Ruling(name, low is not None and low > 0, reason, "features")


def _non_inferior(
    name: str, other: str, found: Mapping[str, Any], margin: float, measured: Measured, phase: str
) -> Ruling:
    advantage, low = _advantage(found, measured)
    reason = f"{_margin_text(found, advantage, low, measured)} against {other}, at least {_number(-margin)} needed"
    return Ruling(name, low is not None and low >= -margin, reason, phase)


def _advantage(found: Mapping[str, Any], measured: Measured) -> tuple[float | None, float | None]:
    """Return difference and its pessimistic bound so that more is better, whatever the metric's direction."""
    if found["difference"] is None or found["low"] is None or found["high"] is None:
        return None, None
    if measured["higher_is_better"]:
        return found["difference"], found["low"]
    return -found["difference"], -found["high"]


def _margin_text(found: Mapping[str, Any], advantage: float | None, low: float | None, measured: Measured) -> str:
    if advantage is None or low is None:
        return f"{found['metric']} could not be compared"
    percent = f"{100 * measured['confidence']:g} %"
    return f"{found['metric']} better by {_number(advantage)}, by {_number(low)} at the {percent} interval's worse end,"


def _metric(name: str, measured: Measured, section: str, *, better_high: bool) -> float | None:
    """Look a metric up; a name that was not measured, or has the other direction, is a mistake in the project file."""
    values = {metric: found["value"] for metric, found in measured["metrics"].items()}
    directions = dict(measured.get("directions", {}))
    if measured["calibration"] is not None:
        values["ece"], directions["ece"] = measured["calibration"]["ece"], False
    if name not in values:
        near = difflib.get_close_matches(name, values, 1)
        hint = f"did you mean '{near[0]}'?" if near else "name one of these, or drop it."
        raise InputError(f"'gate: {section}' names '{name}', which was not measured; measured were {sorted(values)}; {hint}")
    if directions.get(name) is (not better_high):
        other, word = ("ceilings", "lower") if better_high else ("floors", "higher")
        raise InputError(f"'gate: {section}' names '{name}', of which {word} is better; put it under 'gate: {other}'.")
    return values[name]


def _against_bound(name: str, value: float | None, bound: float, words: str) -> str:
    found = "is undefined on the test rows" if value is None else f"is {_number(value)}"
    return f"{name} {found}, {words} {_number(bound)} needed"


def _sign(measured: Measured) -> float:
    return 1.0 if measured["higher_is_better"] else -1.0


def _number(value: float) -> str:
    """Four significant digits, without an exponent for common sizes."""
    return f"{value:.4g}"
