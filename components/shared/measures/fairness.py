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

from components.shared.measures.metrics import Binary, Multiclass, Regression, Scorecard

Rate = Callable[[NDArray, NDArray, NDArray], float]


def _where(defined: Callable[[NDArray], bool], rate: Callable[..., float]) -> Rate:
    """Make a rate NaN for a group without a row that it is about; fairlearn would call it 0."""

    def defined_rate(y_true: NDArray, y_pred: NDArray, sample_weight: NDArray) -> float:
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
    column: str, groups: NDArray[np.object_], card: Scorecard, classes: list[str], min_support: int
) -> dict[str, Any]:
    """Compare the groups of one column.

    Returns:
        ``groups`` (group to rows and rates), ``small_groups`` (group to rows, not judged) and the two differences, None
        where fewer than two groups can be compared. ``class`` names the class that the rates are about.
    """
    names, counts = np.unique(groups.astype(str), return_counts=True)
    rows = {str(name): int(count) for name, count in zip(names, counts, strict=True)}
    large = {name for name, count in rows.items() if count >= min_support}
    report: dict[str, Any] = {
        "column": column,
        "small_groups": {name: count for name, count in rows.items() if name not in large},
    }
    kept = np.flatnonzero(np.isin(groups.astype(str), sorted(large)))
    if not len(kept):
        return report | _undefined()
    inside, members = card.subset(kept), groups[kept].astype(str)
    if isinstance(inside, Regression):
        return report | _undefined() | {"groups": _errors(inside, members)}
    if isinstance(inside, Binary):
        return report | {"class": classes[1]} | _rates(inside.truth.astype(int), inside.acted.astype(int), members)
    assert isinstance(inside, Multiclass)
    each = [
        {"class": name} | _rates((inside.truth == i).astype(int), (inside.answer == i).astype(int), members)
        for i, name in enumerate(classes)
    ]
    widest = max(each, key=lambda one: one["demographic_parity_difference"] or 0.0)
    odds = [one["equalized_odds_difference"] for one in each if one["equalized_odds_difference"] is not None]
    return report | widest | {"equalized_odds_difference": max(odds, default=None)}


def _undefined() -> dict[str, Any]:
    return {"groups": {}, "demographic_parity_difference": None, "equalized_odds_difference": None}


def _rates(truth: NDArray, answer: NDArray, members: NDArray) -> dict[str, Any]:
    # Rows that agree in group, truth and answer are one weighted row: equal rates, a thousand times fewer rows.
    names, codes = np.unique(members, return_inverse=True)
    cells, counts = np.unique(codes * 4 + truth * 2 + answer, return_counts=True)
    weights = {"sample_weight": counts.astype(float)}
    frame = MetricFrame(
        metrics=_RATES,
        y_true=cells // 2 % 2,
        y_pred=cells % 2,
        sensitive_features=names[cells // 4],
        sample_params=dict.fromkeys(_RATES, weights),
    )
    by_group = frame.by_group
    groups = {
        str(group): {"rows": int((members == group).sum())}
        | {name: _number(by_group.loc[group, name]) for name in _RATES}
        for group in by_group.index
    }
    gaps = {name: _gap([group[name] for group in groups.values()]) for name in _RATES}
    odds = [gap for name in ("true_positive_rate", "false_positive_rate") if (gap := gaps[name]) is not None]
    return {
        "groups": groups,
        "demographic_parity_difference": gaps["selection_rate"],
        "equalized_odds_difference": max(odds, default=None),
    }


def _errors(card: Regression, members: NDArray) -> dict[str, Any]:
    groups = {}
    for group in np.unique(members):
        rows = np.flatnonzero(members == group)
        found = card.subset(rows).measure(np.ones((1, len(rows))))
        groups[str(group)] = {"rows": len(rows)} | {
            name: float(found[name][0]) for name in ("mean_error", "mae", "rmse")
        }
    return groups


def _gap(rates: list[float | None]) -> float | None:
    defined = [rate for rate in rates if rate is not None]
    return max(defined) - min(defined) if len(defined) > 1 else None


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
