"""Describe drift in words: what changed, between which rows, and by which test."""

import itertools
from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.data_validation.drift_settings import ComparisonSettings
from components.data_validation.finding import Anomaly
from components.data_validation.periods import Sides, moment
from components.data_validation.sample import Sample, Values
from components.shared.documents.findings import DriftEvidence, DriftRows, DriftSignal
from components.shared.drift.association import AssociationComparison
from components.shared.drift.column import Floats
from components.shared.drift.relation import RelationComparison
from components.shared.drift.univariate import Comparison

_ADVICE = {
    "input drift": "Check what changed at the source; a model trained on earlier rows may be less accurate.",
    "label shift": "Check how the labels are collected; scores and threshold may no longer be calibrated.",
    "changed relation": "Retrain on recent rows, and compare the models on the newest ones.",
}
_MEANING = {
    "input drift": "the distribution of {subject} differs from that of {reference}",
    "label shift": "the label {subject} is distributed differently from {reference}",
    "changed relation": "the label depends on {subject} differently than in {reference}",
}
_LARGEST_TEXT = 40


@dataclass(frozen=True)
class Result:
    """The figures of a test, and its effect in words."""

    statistic: str
    value: float
    threshold: float
    p_value: float | None
    effect: str


def anomaly(settings: ComparisonSettings, compared: Sides, name: str, signal: DriftSignal, result: Result) -> Anomaly:
    """Write the anomaly with its evidence."""
    evidence = DriftEvidence(
        signal=signal,
        statistic=result.statistic,
        value=result.value,
        threshold=result.threshold,
        p_value=result.p_value,
        effect=result.effect,
        is_within_snapshot=settings.is_within_snapshot,
        reference=_rows(compared.reference, settings.is_time),
        current=_rows(compared.current, settings.is_time),
    )
    reference = "the earlier rows" if settings.is_within_snapshot else "the last accepted snapshot"
    meaning = _MEANING[signal].format(subject=f"'{name}'", reference=reference)
    sentence = (
        f"{signal}: {meaning}: {result.effect} ({result.statistic} {result.value:.3g}, expected less than "
        f"{result.threshold:.3g}; {evidence.current.rows:,} rows{_span(evidence.current)} against "
        f"{evidence.reference.rows:,}{_span(evidence.reference)}). {_ADVICE[signal]}"
    )
    return Anomaly(name, "drift", sentence, evidence)


def distribution(compared: Comparison, before: Values, after: Values) -> Result:
    """Describe a changed distribution by mean and median, or by the category whose share changed most."""
    if isinstance(before, list) or isinstance(after, list):
        effect = _largest_change(list(before), list(after))
    else:
        sides = _finite(before), _finite(after)
        medians, deviations = [float(np.median(side)) for side in sides], [float(np.std(side)) for side in sides]
        also = _moved("the median", *medians) or _moved("the standard deviation", *deviations)
        effect = (
            ", ".join(filter(None, (_moved("the mean", *(float(side.mean()) for side in sides)), also)))
            or "the shape of the distribution changed"
        )
    return Result(
        f"{compared.statistic} {_KIND[compared.statistic]}",
        compared.value,
        compared.threshold,
        compared.p_value,
        effect,
    )


_KIND = {
    "Kolmogorov-Smirnov": "statistic",
    "chi-squared": "statistic",
    "normed Wasserstein": "distance",
    "Jensen-Shannon": "distance",
}


def missing(compared: Comparison, before: Values, after: Values) -> Result:
    """Describe a changed share of missing values."""
    shares = [list(values).count("missing") / len(values) for values in (before, after)]
    effect = f"the share of missing values went from {shares[0]:.1%} to {shares[1]:.1%}"
    return Result(
        f"{compared.statistic} {_KIND[compared.statistic]}",
        compared.value,
        compared.threshold,
        compared.p_value,
        effect,
    )


def association(compared: AssociationComparison, other: str) -> Result:
    """Describe a changed rank correlation."""
    effect = f"its rank correlation with '{other}' went from {compared.reference:.2f} to {compared.current:.2f}"
    return Result("difference of Spearman's correlations", compared.value, compared.threshold, compared.p_value, effect)


def relation(compared: RelationComparison, names: list[str], label: str, class_: str | None) -> Result:
    """Describe a changed relation by the two groups whose labels changed most differently."""
    ordered = sorted(compared.groups, key=lambda group: group.deviation)
    subject = f"the mean of '{label}'" if class_ is None else f"the share of '{label}' = {_short(class_)}"
    changes = []
    for group in (ordered[0], ordered[-1]):
        change = (
            f"from {group.reference:.4g} to {group.current:.4g}"
            if class_ is None
            else f"from {group.reference:.1%} to {group.current:.1%}"
        )
        changes.append(f"{change} where it is {names[group.group]}")
    effect = f"{subject} went {changes[0]}, and {changes[1]}"
    statistic = "deviation of means" if class_ is None else "deviation of log odds ratios"
    return Result(statistic, compared.value, compared.threshold, compared.p_value, effect)


def codes(before: list[str | None], after: list[str | None]) -> tuple[NDArray[np.int64], list[str]]:
    """Number the categories of both sides; return the numbers of all rows, and the names."""
    values = sorted({value for value in (*before, *after) if value is not None})
    numbers: dict[str | None, int] = {value: number for number, value in enumerate(values)}
    numbers[None] = len(values)
    names = [_short(value) for value in values]
    return np.array([numbers[value] for value in (*before, *after)], np.int64), [*names, "missing"]


def ranges(edges: Floats) -> list[str]:
    """Name the groups between the edges.

    >>> ranges(np.array([1.0, 2.5]))
    ['below 1', '1 to 2.5', 'at least 2.5', 'missing']
    """
    if not len(edges):
        return ["present", "missing"]
    middle = [f"{low:.4g} to {high:.4g}" for low, high in itertools.pairwise(edges)]
    return [f"below {edges[0]:.4g}", *middle, f"at least {edges[-1]:.4g}", "missing"]


def _largest_change(before: list[str | None], after: list[str | None]) -> str:
    counts = [Counter(value for value in values if value is not None) for values in (before, after)]
    totals = [max(1, count.total()) for count in counts]
    shares = {
        value: [count[value] / total for count, total in zip(counts, totals, strict=True)]
        for value in {*counts[0], *counts[1]}
    }
    value = max(sorted(shares), key=lambda name: abs(shares[name][1] - shares[name][0]))
    return f"the share of {_short(value)} went from {shares[value][0]:.1%} to {shares[value][1]:.1%}"


def _finite(values: Floats) -> Floats:
    return values[np.isfinite(values)]


def _moved(what: str, before: float, after: float) -> str:
    """Describe how a figure moved; empty if its first four digits did not."""
    if f"{before:.4g}" == f"{after:.4g}":
        return ""
    return f"{what} {'rose' if after > before else 'fell'} from {before:.4g} to {after:.4g}"


def _short(value: str) -> str:
    return repr(value if len(value) <= _LARGEST_TEXT else value[: _LARGEST_TEXT - 3] + "...")


def _rows(sample: Sample, is_time: bool) -> DriftRows:
    if sample.times is None or not is_time:
        return DriftRows(rows=len(sample), start=None, end=None)
    return DriftRows(rows=len(sample), start=moment(int(sample.times[0])), end=moment(int(sample.times[-1])))


def _span(rows: DriftRows) -> str:
    return "" if rows.start is None or rows.end is None else f" from {rows.start[:10]} to {rows.end[:10]}"
