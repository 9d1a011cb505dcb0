"""The gate's rules: each looks at one thing that was measured, and says pass or fail in one sentence with its numbers.

A value equal to its bound passes, except that "better than the rule" means better. Nothing here stops at the first
broken rule. ``phase`` names where to go back to: data, features, tuning, training or evaluation.
"""

import difflib
from collections.abc import Iterator

from components.gate import comparisons
from components.shared.documents.evaluation import EvaluationReport
from components.shared.documents.measurements import SliceMeasure
from components.shared.documents.verdict import Phase, Remark, Ruling
from components.shared.errors import InputError
from components.shared.measures.metric_names import JUDGED_CLASS_ROWS
from components.shared.project import Project
from components.shared.wording import quoted, significant, where, worth


def enough_rows(project: Project, evaluation: EvaluationReport) -> Iterator[Ruling]:
    """Too few test rows prove nothing."""
    rows, needed, excluded = evaluation.rows.test, project.gate.min_test_rows, evaluation.rows.excluded_seen
    aside = f"; {excluded:,} were excluded as seen in training" if excluded else ""
    yield _ruling("test rows", rows >= needed, f"{rows:,} test rows, {needed:,} needed{aside}", "data")
    by_class = evaluation.rows.by_class
    if not by_class:
        return
    # Of several classes, those with too few rows for the main metric are not judged.
    judged = {name: count for name, count in by_class.items() if count >= JUDGED_CLASS_ROWS}
    if evaluation.task == "binary" or len(judged) < 2:
        judged = {name: count for name, count in by_class.items() if count}
    rarest = min(judged, key=lambda name: judged[name])
    unjudged = sorted(set(by_class) - set(judged))
    remark = f"; too few to be judged: {quoted(unjudged)}" if unjudged else ""
    needed = project.gate.min_class_rows
    reason = f"{judged[rarest]:,} test rows of the rarest class '{rarest}', {needed:,} needed{remark}"
    yield _ruling("class rows", judged[rarest] >= needed, reason, "data")


def floors(project: Project, evaluation: EvaluationReport) -> Iterator[Ruling]:
    """Hold metrics to their lowest values."""
    for name, bound in project.gate.floors.items():
        value = _metric(name, evaluation, "floors", better_high=True)
        reason = _against_bound(name, value, bound, "at least")
        yield _ruling(f"floor {name}", value is not None and value >= bound, reason, "features")


def ceilings(project: Project, evaluation: EvaluationReport) -> Iterator[Ruling]:
    """Hold metrics to their highest values."""
    for name, bound in project.gate.ceilings.items():
        value = _metric(name, evaluation, "ceilings", better_high=False)
        reason = _against_bound(name, value, bound, "at most")
        yield _ruling(f"ceiling {name}", value is not None and value <= bound, reason, "features")


def slices(project: Project, evaluation: EvaluationReport) -> Iterator[Ruling]:
    """Hold every declared slice to the largest tolerated loss against all rows.

    A loss that may be chance (its interval reaches 0) breaks nothing. The worst slice that was searched for is only
    reported: among many there is always one, and inside a telling feature's own values every model ranks worse.
    """
    if project.gate.slice_gap is None:
        return
    judged = [entry for part in evaluation.slices if (entry := _slice_loss(part, evaluation)) is not None]
    certain = [(loss, part) for loss, least_loss, part in judged if least_loss > 0]
    if not certain:
        reason = f"none of {len(judged)} slices with enough rows is worse than all rows beyond chance"
        yield _ruling("slices", True, reason, "data")
        return
    loss, part = max(certain, key=lambda pair: pair[0])
    reason = (
        f"{where(part.where)} ({part.rows:,} rows) loses {significant(loss)} {evaluation.primary} against all rows, "
        f"the most of {len(judged)} slices; at most {significant(project.gate.slice_gap)} allowed"
    )
    yield _ruling("slices", loss <= project.gate.slice_gap, reason, "data")


def _slice_loss(part: SliceMeasure, evaluation: EvaluationReport) -> tuple[float, float, SliceMeasure] | None:
    """Return how much worse a slice is than all rows, and the optimistic bound of that; None where undefined."""
    better_end = part.difference_high if evaluation.higher_is_better else part.difference_low
    if part.difference is None or better_end is None:
        return None
    sign = -1.0 if evaluation.higher_is_better else 1.0
    return sign * part.difference, sign * better_end, part


def fairness(project: Project, evaluation: EvaluationReport) -> Iterator[Ruling]:
    """Hold the gap in selection rate between the groups of each declared column to its bound."""
    if project.gate.fairness_gap is None:
        return
    if not evaluation.fairness:
        raise InputError(
            "'gate: fairness_gap' is set, but no groups were compared; name their columns in 'evaluation: fairness', "
            "or drop the rule."
        )
    for compared in evaluation.fairness:
        gap, name = compared.demographic_parity_difference, f"fairness {compared.column}"
        if gap is None:
            missing = "fewer than two groups have enough rows and a selection rate to compare"
            yield _ruling(name, False, f"the groups of '{compared.column}' were not judged: {missing}", "data")
            continue
        bound = significant(project.gate.fairness_gap)
        reason = f"selection rates of '{compared.column}' differ by {significant(gap)}, at most {bound} allowed"
        yield _ruling(name, gap <= project.gate.fairness_gap, reason, "features")


def value(project: Project, evaluation: EvaluationReport) -> Iterator[Ruling]:
    """Acting on the model must not be worth less than acting on nobody.

    A rejection does not stop the champion: where that loses money on the same rows, a candidate may lose some, but no
    more than the champion does.
    """
    if not project.gate.value_positive:
        return
    measured = evaluation.value
    if measured is None:
        raise InputError(
            "'gate: value_positive' is set, but no value was measured; declare 'value' for a binary task, "
            "or drop the rule."
        )
    reason = f"acting on the model is {worth(measured.total, measured.currency)} on the test rows"
    champion = measured.champion_total
    if measured.total >= 0 or champion is None or champion >= 0:
        yield _ruling("value", measured.total >= 0, reason, "training")
        return
    passed = measured.total >= champion
    reason += f"; acting on the champion is {worth(champion, measured.currency)}"
    remark: Remark | None = "warning" if passed else None
    yield Ruling(rule="value", passed=passed, reason=reason, phase="training", remark=remark)


def old_rows(project: Project, evaluation: EvaluationReport) -> Iterator[Ruling]:
    """Hold the loss on the fixed set of old rows to what the release for which they were chosen had, and a margin.

    The bound does not move with the champion: a little forgetting per release would add up.
    """
    margin, old = project.gate.old_rows_margin, evaluation.old_rows
    if margin is None or old is None:
        return
    named = f"{old.rows:,} old rows (until {old.newest[:10]}, sha256 {old.content_hash[:12]})"
    if old.chosen_because is not None:
        reason = f"{named} are chosen with this candidate, because {old.chosen_because}"
        yield _ruling("old rows", True, reason, "training")
        return
    if old.loss is None or old.first_loss is None:
        yield _ruling("old rows", False, f"{old.metric} is undefined on the {named}", "training")
        return
    reason = (
        f"{old.metric} is {significant(old.loss)} on {named}, {significant(old.first_loss)} when they were chosen; "
        f"at most {significant(margin)} more allowed"
    )
    yield _ruling("old rows", old.loss <= old.first_loss + margin, reason, "training")


def costs(project: Project, evaluation: EvaluationReport) -> Iterator[Ruling]:
    """Hold latency and size to their bounds."""
    gate, cost = project.gate, evaluation.cost
    if gate.latency_ms is not None:
        latency = cost.latency_ms_p50
        reason = f"one row takes {significant(latency)} ms (median), at most {significant(gate.latency_ms)} ms allowed"
        yield _ruling("latency", latency <= gate.latency_ms, reason, "tuning")
    if gate.size_mib is not None:
        reason = (
            f"the exported model has {significant(cost.size_mib)} MiB, at most {significant(gate.size_mib)} MiB allowed"
        )
        yield _ruling("size", cost.size_mib <= gate.size_mib, reason, "tuning")


def leaks(_: Project, evaluation: EvaluationReport) -> Iterator[Ruling]:
    """Warn of a column that seems to know the answer; the gate cannot know when it becomes known."""
    column = evaluation.single_column
    if column is not None and column.remark is not None:
        yield Ruling(rule="leak", passed=True, reason=column.remark, phase="data", remark="warning")


ALL = (enough_rows, leaks, comparisons.rulings, floors, ceilings, slices, fairness, value, old_rows, costs)


def _ruling(rule: str, passed: bool, reason: str, phase: Phase) -> Ruling:
    return Ruling(rule=rule, passed=passed, reason=reason, phase=phase)


def _metric(name: str, evaluation: EvaluationReport, section: str, *, better_high: bool) -> float | None:
    """Look a metric up; a name that was not measured, or has the other direction, is a mistake in the project file."""
    values = {metric: measured.value for metric, measured in evaluation.metrics.items()}
    directions = dict(evaluation.directions)
    if evaluation.calibration is not None:
        values["ece"], directions["ece"] = evaluation.calibration.ece, False
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
    measured = "is undefined on the test rows" if value is None else f"is {significant(value)}"
    return f"{name} {measured}, {words} {significant(bound)} needed"
