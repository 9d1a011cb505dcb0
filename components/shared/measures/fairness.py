"""How differently the model treats declared groups, by fairlearn's disaggregated metrics.

Demographic parity difference: largest minus smallest selection rate. Equalised odds difference: the larger of the gaps
in true- and in false-positive rate (Hardt, Price and Srebro, 2016). For several classes each class is taken against the
rest and the largest gap counts; a regression has no selection, so groups are compared by their errors.
Groups below the minimum support are counted, not judged, and a rate that a group has no rows for is left out.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from fairlearn.metrics import MetricFrame, false_positive_rate, selection_rate, true_positive_rate
from numpy.typing import NDArray

from components.shared.documents.measurements import FairnessColumn, GroupMeasure
from components.shared.measures.bootstrap import Interval
from components.shared.measures.metrics import Binary, Multiclass, Regression, Scorecard
from components.shared.measures.ranking import Floats

Rate = Callable[[NDArray[Any], NDArray[Any], NDArray[Any]], float]


def _where(defined: Callable[[NDArray[Any]], bool], rate: Callable[..., float]) -> Rate:
    """Make a rate NaN for a group without a row that it is about; fairlearn would call it 0."""

    def defined_rate(y_true: NDArray[Any], y_pred: NDArray[Any], sample_weight: NDArray[Any]) -> float:
        if not defined(np.asarray(y_true)):
            return float("nan")
        return float(rate(y_true, y_pred, pos_label=1, sample_weight=sample_weight))

    return defined_rate


_RATES: dict[str, Rate] = {
    "selection_rate": _where(lambda y: len(y) > 0, selection_rate),
    "true_positive_rate": _where(lambda y: bool((y == 1).any()), true_positive_rate),
    "false_positive_rate": _where(lambda y: bool((y == 0).any()), false_positive_rate),
}


def compare(
    column: str, groups: NDArray[np.object_], candidate: Scorecard, classes: list[str], min_support: int
) -> FairnessColumn:
    """Compare the groups of one column.

    Args:
        column: Its name.
        groups: (rows,) the group of each row.
        candidate: The model's answers to the same rows.
        classes: Names of the classes; empty for a regression.
        min_support: Groups with fewer rows are counted, not judged.

    Returns:
        The groups with their rates and the two differences, None where fewer than two groups can be compared.
    """
    names, counts = np.unique(groups.astype(str), return_counts=True)
    rows = {str(name): int(count) for name, count in zip(names, counts, strict=True)}
    large = {name for name, count in rows.items() if count >= min_support}
    small = {name: count for name, count in rows.items() if name not in large}
    judged = np.flatnonzero(np.isin(groups.astype(str), sorted(large)))
    undefined = FairnessColumn(
        column=column, groups={}, small_groups=small, demographic_parity_difference=None, equalized_odds_difference=None
    )
    if not len(judged):
        return undefined
    inside, members = candidate.subset(judged), groups[judged].astype(str)
    if isinstance(inside, Regression):
        return undefined.model_copy(update={"groups": _errors(inside, members)})
    if isinstance(inside, Binary):
        rates = _rates(inside.truth.astype(int), inside.acted.astype(int), members)
        return _compared(column, classes[1], rates, small)
    assert isinstance(inside, Multiclass)
    by_class = [
        _compared(
            column, name, _rates((inside.truth == i).astype(int), (inside.answer == i).astype(int), members), small
        )
        for i, name in enumerate(classes)
    ]
    widest = max(by_class, key=lambda compared: compared.demographic_parity_difference or 0.0)
    odds = [gap for compared in by_class if (gap := compared.equalized_odds_difference) is not None]
    return widest.model_copy(update={"equalized_odds_difference": max(odds, default=None)})


PARITY, ODDS = "parity", "odds"
"""Keys of the two gaps in ``rates``; every other key is a group."""


def rates(
    groups: NDArray[np.object_], candidate: Scorecard, classes: list[str], min_support: int
) -> Callable[[Floats], dict[str, Floats]]:
    """Return what measures the gaps of ``compare``, and each group's share of rows acted on, on resamples.

    Args:
        groups: (rows,) the group of each row.
        candidate: The model's answers to the same rows.
        classes: Names of the classes; empty for a regression, of which nothing is measured.
        min_support: Groups with fewer rows are not judged.

    Returns:
        From weights (resamples, rows) to the two gaps, by ``PARITY`` and ``ODDS``, and, of a binary model, the rate of
        "=" and a group's name; each (resamples,).
    """
    names, codes, counts = np.unique(groups.astype(str), return_inverse=True, return_counts=True)
    large = np.flatnonzero(counts >= min_support)
    if isinstance(candidate, Regression) or len(large) < 2:
        return lambda weights: {}
    if isinstance(candidate, Binary):
        pairs = [(candidate.truth.astype(bool), candidate.acted.astype(bool))]
    else:
        assert isinstance(candidate, Multiclass)
        pairs = [(candidate.truth == i, candidate.answer == i) for i in range(len(classes))]
    members = [codes == group for group in large]

    def measure(weights: Floats) -> dict[str, Floats]:
        parity, odds, measured = [], [], {}
        for truth, answer in pairs:
            selected = [_share(weights, inside, answer) for inside in members]
            true_positive = [_share(weights, inside & truth, answer) for inside in members]
            false_positive = [_share(weights, inside & ~truth, answer) for inside in members]
            parity.append(_spread(selected))
            odds += [_spread(true_positive), _spread(false_positive)]
            if isinstance(candidate, Binary):
                measured = {f"={names[g]}": each for g, each in zip(large, selected, strict=True)}
        return measured | {PARITY: np.fmax.reduce(parity), ODDS: np.fmax.reduce(odds)}

    return measure


def _share(weights: Floats, rows: NDArray[np.bool_], hit: NDArray[np.bool_]) -> Floats:
    total = weights @ rows.astype(float)
    with np.errstate(invalid="ignore", divide="ignore"):
        share: Floats = np.where(total > 0, (weights @ (rows & hit).astype(float)) / total, np.nan)
    return share


def _spread(shares: list[Floats]) -> Floats:
    """Return the distance of the largest and the smallest share, without undefined ones."""
    spread: Floats = np.fmax.reduce(shares) - np.fmin.reduce(shares)
    defined = np.sum([~np.isnan(each) for each in shares], axis=0)
    return np.where(defined > 1, spread, np.nan)


def with_intervals(compared: FairnessColumn, intervals: dict[str, Interval]) -> FairnessColumn:
    """Add the intervals of what ``rates`` measured."""
    if not intervals:
        return compared
    parity, odds = intervals[PARITY].metric, intervals[ODDS].metric
    groups = {
        name: group.model_copy(update={"selection_rate_low": share.low, "selection_rate_high": share.high})
        if (share := intervals[f"={name}"].metric if f"={name}" in intervals else None)
        else group
        for name, group in compared.groups.items()
    }
    return compared.model_copy(
        update={
            "groups": groups,
            "demographic_parity_low": parity.low,
            "demographic_parity_high": parity.high,
            "equalized_odds_low": odds.low,
            "equalized_odds_high": odds.high,
        }
    )


def _compared(
    column: str, positive: str, groups: dict[str, GroupMeasure], small_groups: dict[str, int]
) -> FairnessColumn:
    """Take the gaps between the groups' rates."""
    gaps = [
        _gap([group.true_positive_rate for group in groups.values()]),
        _gap([group.false_positive_rate for group in groups.values()]),
    ]
    return FairnessColumn(
        column=column,
        positive=positive,
        groups=groups,
        small_groups=small_groups,
        demographic_parity_difference=_gap([group.selection_rate for group in groups.values()]),
        equalized_odds_difference=max((gap for gap in gaps if gap is not None), default=None),
    )


def _rates(truth: NDArray[Any], answer: NDArray[Any], members: NDArray[Any]) -> dict[str, GroupMeasure]:
    # Rows that agree in group, truth and answer are one weighted row: equal rates, a thousand times fewer rows.
    names, codes = np.unique(members, return_inverse=True)
    cells, counts = np.unique(codes * 4 + truth * 2 + answer, return_counts=True)
    weights = {"sample_weight": counts.astype(float)}
    by_group = MetricFrame(
        metrics=_RATES,
        y_true=cells // 2 % 2,
        y_pred=cells % 2,
        sensitive_features=names[cells // 4],
        sample_params=dict.fromkeys(_RATES, weights),
    ).by_group
    return {
        str(group): GroupMeasure(
            rows=int((members == group).sum()),
            selection_rate=float(by_group.loc[group, "selection_rate"]),
            true_positive_rate=float(by_group.loc[group, "true_positive_rate"]),
            false_positive_rate=float(by_group.loc[group, "false_positive_rate"]),
        )
        for group in by_group.index
    }


def _errors(candidate: Regression, members: NDArray[Any]) -> dict[str, GroupMeasure]:
    groups = {}
    for group in np.unique(members):
        rows = np.flatnonzero(members == group)
        measured = {
            name: float(value[0]) for name, value in candidate.subset(rows).measure(np.ones((1, len(rows)))).items()
        }
        groups[str(group)] = GroupMeasure(
            rows=len(rows), mean_error=measured["mean_error"], mae=measured["mae"], rmse=measured["rmse"]
        )
    return groups


def _gap(rates: list[float | None]) -> float | None:
    defined = [rate for rate in rates if rate is not None]
    return max(defined) - min(defined) if len(defined) > 1 else None
