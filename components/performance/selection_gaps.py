"""Test whether groups that the project compares are acted on less alike than on the test rows.

For every group, the odds of the positive answer are compared with those of all other rows of the same day, in both
directions. What is tolerated is the odds ratio on the test rows, by its upper bound, or the gap between selection rates
that the gate allows, whichever is wider.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy import stats

from components.performance import losses, sampling, segments
from components.shared.documents.monitoring import WatchedMetric
from components.shared.measures import bootstrap
from components.shared.measures.slices import GroupedColumn, Groups
from components.shared.project import Evaluation
from components.shared.sequential.e_detector import Evidence
from components.shared.sequential.odds import OddsRise

_GROUPS_MAX = 20
_BOUND = 0.8
"""Confidence of the upper bound of an odds ratio, of all tests together."""
_HIGHEST_RATE = 0.999
_SEED = 7

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class ComparedGroups:
    """The groups of one column that are large enough, as far as the column is a logged feature."""

    column: str
    groups: tuple[str, ...]

    @property
    def tests(self) -> int:
        """Number of tests: each group in both directions; of two groups, one mirrors the other."""
        return 2 * (1 if len(self.groups) == 2 else len(self.groups))


def compared(reference: pa.Table, columns: Sequence[str]) -> Iterator[ComparedGroups]:
    """Yield the columns of which two groups or more have enough test rows.

    Args:
        reference: The test rows with their features, ``received.<feature>``.
        columns: The columns whose groups the project compares.
    """
    features = segments.features(reference)
    for column in columns:
        if column in features.column_names:
            grouped = Groups(features, features).of(column)
            rows = np.bincount(grouped.codes, minlength=len(grouped.names))
            large = [grouped.names[n] for n in np.argsort(-rows) if rows[n] >= segments.FEWEST_REFERENCE_ROWS]
            if len(large) > 1:
                yield ComparedGroups(column, tuple(large[:_GROUPS_MAX]))


def measure(
    one: ComparedGroups,
    evaluation: Evaluation,
    reference: pa.Table,
    rows: pa.Table,
    positive: str,
    *,
    allowed_gap: float | None,
    tests: int,
    run_length: float,
) -> WatchedMetric:
    """Measure the gap between the groups' selection rates, and hand the days to the detectors.

    Args:
        one: The column and its groups.
        evaluation: Says how intervals are computed.
        reference: The test rows, with their decision and features.
        rows: The rows that are measured, at least one; labels are not needed.
        positive: The answer that calls for action.
        allowed_gap: The gap that the gate allows, 0 to 1; None if it has no rule.
        tests: Number of tests of all columns.
        run_length: Average number of days between false alarms of all of them together.
    """
    features = segments.features(reference)
    groups_before, groups = (Groups(features, segments.features(table)).of(one.column) for table in (reference, rows))
    acted_before, acted, days = _acted(reference, positive), _acted(rows, positive), losses.days(rows)
    confidence = 1 - (1 - _BOUND) / tests
    alarms, evidence = [], 0.0
    for name in one.groups[: one.tests // 2]:
        for event_before, event in ((acted_before, acted), (~acted_before, ~acted)):
            odds = OddsRise(_tolerated(_inside(groups_before, name), event_before, allowed_gap, confidence))
            detector = Evidence(odds.sizes, run_length * tests)
            day = _first_alarm(detector, odds, days, _inside(groups, name), event)
            alarms += [day] if day else []
            evidence = max(evidence, detector.fraction)
    chosen = sampling.metric_rows(rows.num_rows)
    members = [_inside(groups, name)[chosen] for name in one.groups]
    drawn = bootstrap.distributions(
        lambda weights: {one.column: _gap(members, acted[chosen], weights)},
        np.arange(len(chosen)),
        resamples=evaluation.resamples,
        seed=_SEED,
    )
    unweighted = np.ones((1, reference.num_rows))
    return WatchedMetric(
        signal="fairness",
        name=f"gap between the selection rates by {one.column}",
        metric=drawn[one.column].interval(evaluation.confidence).metric,
        reference=float(_gap([_inside(groups_before, name) for name in one.groups], acted_before, unweighted)[0]),
        evidence=1.0 if alarms else min(evidence, 1.0),
        alarm=min(alarms, default=None),
        run_length_days=run_length,
        guarantee="holds while the odds ratio of each group to the others is at most what is tolerated",
    )


def _first_alarm(detector: Evidence, odds: OddsRise, days: NDArray[np.str_], inside: Flags, event: Flags) -> str | None:
    names, codes = np.unique(days, return_inverse=True)
    counts = [np.bincount(codes, flags, len(names)).astype(int).tolist() for flags in (inside & event, inside, event)]
    alarm = None
    for day, both, members, events, rows in zip(names, *counts, np.bincount(codes).tolist(), strict=True):
        if detector.add(odds.log_values(both, members, events, rows)):
            alarm = alarm or str(day)
    return alarm


def _tolerated(inside: Flags, event: Flags, allowed_gap: float | None, confidence: float) -> float:
    """Return the odds ratio that is tolerated: an upper bound (Woolf, 1955), or that of the gap that is allowed."""
    cells = [float((inside == i).astype(float) @ (event == e)) + 0.5 for i in (True, False) for e in (True, False)]
    error = float(np.sqrt(sum(1 / cell for cell in cells)))
    bound = float(np.log(cells[0] * cells[3] / (cells[1] * cells[2])) + stats.norm.ppf(confidence) * error)
    if allowed_gap is None:
        return float(np.exp(bound))
    rate = cells[2] / (cells[2] + cells[3])
    higher = min(rate + allowed_gap, _HIGHEST_RATE)
    return max(float(np.exp(bound)), higher / (1 - higher) * (1 - rate) / rate)


def _gap(members: Sequence[Flags], acted: Flags, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the largest minus the smallest selection rate of the groups for each weighting: (resamples,)."""
    rates = []
    for inside in members:
        total = weights @ inside.astype(float)
        rates.append(np.where(total > 0, weights @ (inside & acted).astype(float) / np.maximum(total, 1.0), np.nan))
    gaps: NDArray[np.float64] = np.fmax.reduce(rates) - np.fmin.reduce(rates)
    return gaps


def _acted(table: pa.Table, positive: str) -> Flags:
    acted: Flags = pc.equal(table["decision"], positive).to_numpy(zero_copy_only=False).astype(bool)
    return acted


def _inside(groups: GroupedColumn, name: str) -> Flags:
    """Return which rows are in a group; none if no row is."""
    if name not in groups.names:
        return np.zeros(len(groups.codes), bool)
    inside: Flags = groups.codes == groups.names.index(name)
    return inside
