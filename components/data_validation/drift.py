"""Find how the newest rows of a source differ from earlier ones: input drift, label shift, changed relation."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.data_validation import drift_words as words
from components.data_validation.drift_settings import ComparisonSettings
from components.data_validation.finding import Anomaly
from components.data_validation.periods import Sides, sides
from components.data_validation.sample import Sample, Values
from components.shared.documents.findings import DriftSignal
from components.shared.drift import column, relation
from components.shared.drift.association import compare_associations
from components.shared.drift.relation import RelationComparison
from components.shared.drift.univariate import Comparison, compare_categories, compare_numbers

_ALPHA = 0.01
"""Probability of at least one finding by chance in a run, over all sources, columns and tests."""
_ORDINARY = 1.5
"""A difference counts only if it exceeds the largest difference of an earlier period by this factor."""
_LABEL_SENSITIVITY = 0.5
"""Share of the smallest distance that counts for a label: every prediction depends on its distribution."""
_CLASSES = 20


@dataclass(frozen=True)
class _Test:
    """What all tests of a source share: the settings, the rows, and the probability of a false alarm of each test."""

    settings: ComparisonSettings
    sides: Sides
    alpha: float
    distance_min: float

    def anomaly(self, name: str, signal: DriftSignal, words_: words.Result) -> Anomaly:
        return words.anomaly(self.settings, self.sides, name, signal, words_)


def find(settings: ComparisonSettings, reference: Sample, current: Sample) -> list[Anomaly]:
    """Compare the newest rows with the reference; every anomaly has its evidence."""
    inputs = [name for name in reference.columns if name in current.columns and name != settings.label]
    own = [name for name in inputs if name in settings.own_columns]
    numeric = [name for name in own if not isinstance(reference.columns[name], list)]
    tests = 2 * len(own) + len(numeric) * (len(numeric) - 1) // 2 + (len(inputs) + 1 if settings.label else 0)
    alpha = _ALPHA / settings.sources / max(1, tests)
    anomalies: list[Anomaly] = []
    if chosen := sides(reference.until(settings.since), current.after(settings.since), settings.since):
        test = _Test(settings, chosen, alpha, settings.distance_min)
        for name in own:
            anomalies += _input_drift(test, name)
        anomalies += _changed_associations(test, numeric)
    label = settings.label
    if label is not None and label in reference.columns and label in current.columns:
        since = settings.labelled_since
        before, after = reference.until(since).labelled(label), current.after(since).labelled(label)
        if chosen := sides(before, after, since):
            test = _Test(settings, chosen, alpha, _LABEL_SENSITIVITY * settings.distance_min)
            anomalies += _changed_distribution(test, label, "label shift")
            for name in inputs:
                anomalies += _changed_relation(test, name, label)
    return anomalies


def _input_drift(test: _Test, name: str) -> Iterator[Anomaly]:
    yield from _changed_distribution(test, name, "input drift")
    before, after = (_presence(side.columns[name]) for side in (test.sides.reference, test.sides.current))
    compared = _compare_with_periods(test, before, after)
    if compared is not None and compared.is_drift:
        yield test.anomaly(name, "input drift", words.missing(compared, before, after))


def _changed_distribution(test: _Test, name: str, signal: DriftSignal) -> Iterator[Anomaly]:
    before, after = test.sides.reference.columns[name], test.sides.current.columns[name]
    if not isinstance(before, list) and not isinstance(after, list) and column.has_few_values(before):
        before, after = column.as_categories(before), column.as_categories(after)
    compared = _compare_with_periods(test, before, after)
    if compared is not None and compared.is_drift:
        yield test.anomaly(name, signal, words.distribution(compared, before, after))


def _compare_with_periods(test: _Test, before: Values, after: Values) -> Comparison | None:
    """Compare two samples; where they differ, raise the threshold by how much earlier periods differ from the rest."""
    compared = _compare(test, before, after)
    if compared is None or not compared.is_drift:
        return compared
    ordinary = 0.0
    for period in test.sides.periods:
        others = np.setdiff1d(np.arange(len(before)), period)
        earlier = _compare(test, _at(before, others), _at(before, period))
        if earlier is not None and earlier.statistic == compared.statistic:
            ordinary = max(ordinary, earlier.value)
    return compared.with_threshold_of_at_least(_ORDINARY * ordinary)


def _compare(test: _Test, before: Values, after: Values) -> Comparison | None:
    """Compare two samples; None if a side has no value, or the types differ."""
    distance_min = test.distance_min
    if isinstance(before, list) and isinstance(after, list):
        if all(value is None for value in before) or all(value is None for value in after):
            return None
        return compare_categories(before, after, alpha=test.alpha, distance_min=distance_min)
    if isinstance(before, list) or isinstance(after, list):
        return None
    if not np.isfinite(before).any() or not np.isfinite(after).any():
        return None
    return compare_numbers(before, after, alpha=test.alpha, distance_min=distance_min)


def _changed_associations(test: _Test, names: list[str]) -> Iterator[Anomaly]:
    before, after = test.sides.reference, test.sides.current
    names = [
        name for name in names if _has_many_numbers(before.columns[name]) and _has_many_numbers(after.columns[name])
    ]
    if len(names) < 2:
        return
    rows = [np.stack([np.asarray(side.columns[name]) for name in names], axis=1) for side in (before, after)]
    changed = [each for each in compare_associations(rows[0], rows[1], alpha=test.alpha) if each.is_drift]
    ordinary = _ordinary_associations(test, rows[0]) if changed else {}
    for compared in changed:
        compared = compared.with_threshold_of_at_least(_ORDINARY * ordinary.get((compared.left, compared.right), 0.0))
        if compared.is_drift:
            yield test.anomaly(names[compared.left], "input drift", words.association(compared, names[compared.right]))


def _ordinary_associations(test: _Test, rows: column.Floats) -> dict[tuple[int, int], float]:
    """Return, by pair of columns, how far an earlier period's correlation was from that of the others at most."""
    largest: dict[tuple[int, int], float] = {}
    for period in test.sides.periods:
        others = np.setdiff1d(np.arange(len(rows)), period)
        for earlier in compare_associations(rows[others], rows[period]):
            pair = earlier.left, earlier.right
            largest[pair] = max(largest.get(pair, 0.0), earlier.value)
    return largest


def _changed_relation(test: _Test, name: str, label: str) -> Iterator[Anomaly]:
    """Compare how the label depends on a column, class by class; the class with the largest change is reported."""
    results = []
    for class_, before, after in _label_values(test, label):
        result = _weakest([compare(before, after) for compare in _groupings(test, name)])
        if result is not None and result[0].is_drift:
            results.append((result[0].value / result[0].threshold, class_, *result))
    if results:
        _, class_, compared, names = max(results, key=lambda result: result[0])
        yield test.anomaly(name, "changed relation", words.relation(compared, names, label, class_))


Grouping = Callable[[column.Floats, column.Floats], tuple[RelationComparison, list[str]] | None]


def _groupings(test: _Test, name: str) -> list[Grouping]:
    """Group the rows by a column: categories as they are, numbers by the reference's quantiles, and by each side's own.

    A number in another unit, or one that drifted as a whole, keeps its quantiles; an input whose distribution changed
    keeps its values. The relation changed only if it did by both groupings.
    """
    before, after = test.sides.reference.columns[name], test.sides.current.columns[name]
    if isinstance(before, list) and isinstance(after, list):
        codes, names = words.codes(before, after)
        return [_grouping(test, codes[: len(before)], codes[len(before) :], names)]
    if isinstance(before, list) or isinstance(after, list):
        return []
    edges, own_edges = relation.quantile_edges(before), relation.quantile_edges(after)
    names = words.ranges(edges)
    groups = relation.groups_of(before, edges)
    groupings = [_grouping(test, groups, relation.groups_of(after, edges), names)]
    if len(edges) == len(own_edges):
        groupings.append(_grouping(test, groups, relation.groups_of(after, own_edges), names))
    return groupings


def _grouping(test: _Test, before: NDArray[np.int64], after: NDArray[np.int64], names: list[str]) -> Grouping:
    def compare(
        before_labels: column.Floats, after_labels: column.Floats
    ) -> tuple[RelationComparison, list[str]] | None:
        compared = relation.compare_relation((before, before_labels), (after, after_labels), alpha=test.alpha)
        return None if compared is None else (compared, names)

    return compare


def _weakest(
    results: list[tuple[RelationComparison, list[str]] | None],
) -> tuple[RelationComparison, list[str]] | None:
    present = [result for result in results if result is not None]
    return min(present, key=lambda result: result[0].value / result[0].threshold) if present else None


def _label_values(test: _Test, label: str) -> Iterator[tuple[str | None, column.Floats, column.Floats]]:
    """Yield the label as numbers: itself, or 1 and 0 for each class (of a binary label: the positive one only)."""
    before, after = test.sides.reference.columns[label], test.sides.current.columns[label]
    if not isinstance(before, list) or not isinstance(after, list):
        if not isinstance(before, list) and not isinstance(after, list):
            yield None, before, after
        return
    classes = sorted({value for value in before if value is not None})
    if test.settings.positive in classes:
        classes = [str(test.settings.positive)]
    elif len(classes) == 2:
        classes = classes[1:]
    for class_ in classes[:_CLASSES]:
        yield class_, _indicator(before, class_), _indicator(after, class_)


def _indicator(values: list[str | None], class_: str) -> column.Floats:
    return np.array([float(value == class_) for value in values])


def _has_many_numbers(values: Values) -> bool:
    return not isinstance(values, list) and not column.has_few_values(values)


def _presence(values: Values) -> list[str | None]:
    missing = [value is None for value in values] if isinstance(values, list) else np.isnan(values).tolist()
    return ["missing" if is_missing else "present" for is_missing in missing]


def _at(values: Values, rows: NDArray[np.int64]) -> Values:
    return list(map(values.__getitem__, rows.tolist())) if isinstance(values, list) else values[rows]
