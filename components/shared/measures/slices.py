"""Slice the test rows by the values of one or more columns, and search for the worst slice.

A slice is evaluated if it has ``min_support`` rows and, for a classification, a tenth of that in each of at least two
classes. Numeric columns with many values are cut at the quartiles of the training rows. The AUC on a slice may be lower
than on all rows even for a perfect model, because the slice's own column no longer contributes to the ranking.
"""

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.special import ndtr

from components.shared.documents.measurements import SliceMeasure, WorstSlice
from components.shared.errors import InputError
from components.shared.inputs import rows
from components.shared.inputs.column_file import Columns
from components.shared.measures import bootstrap
from components.shared.measures.metrics import Regression, Scorecard
from components.shared.measures.ranking import Floats
from components.shared.wording import where

_DISTINCT = 10
_SHORTLIST = 20
_SEARCH_RESAMPLES = 200
# Key of the distribution over all rows; the slices have the keys from 0.
_ALL_ROWS = -1


@dataclass(frozen=True)
class Slice:
    """A part of the test rows: the column values that define it, and the indices of its rows."""

    where: dict[str, str]
    rows: NDArray[np.intp]


@dataclass(frozen=True)
class GroupedColumn:
    """A column as group numbers, with the name of each group: a value, a range of numbers, or "missing"."""

    codes: NDArray[np.intp]
    names: list[str]

    def texts(self) -> NDArray[np.object_]:
        """Return the group name of each row."""
        return np.array(self.names, dtype=object)[self.codes]


class Groups:
    """The groups of each column of the test rows, computed on first use."""

    def __init__(self, train: Columns, test: Columns) -> None:
        """Store both parts: bins are learned on ``train`` and applied to ``test``."""
        self._train, self._test = train, test
        self._computed: dict[str, GroupedColumn] = {}

    def of(self, column: str) -> GroupedColumn:
        """Return the groups of one column.

        Raises:
            InputError: If the column does not exist.
        """
        if column not in self._test.column_names:
            similar = difflib.get_close_matches(column, self._test.column_names, 1)
            raise InputError(
                f"'evaluation' names the column '{column}', but the test rows have {self._test.column_names}; "
                + (f"did you mean '{similar[0]}'?" if similar else "name one of these columns.")
            )
        if column not in self._computed:
            self._computed[column] = self._grouped(column)
        return self._computed[column]

    def slices(self, columns: Sequence[str]) -> Iterator[Slice]:
        """Split all test rows by the values of the columns together."""
        groups = [self.of(column) for column in columns]
        codes = groups[0].codes
        for group in groups[1:]:
            codes = np.unique(codes * len(group.names) + group.codes, return_inverse=True)[1]
        order = np.argsort(codes, kind="stable")
        for part in np.split(order, np.flatnonzero(np.diff(codes[order])) + 1):
            if len(part):
                first = part[0]
                values = {name: group.names[group.codes[first]] for name, group in zip(columns, groups, strict=True)}
                yield Slice(values, part)

    def _grouped(self, column: str) -> GroupedColumn:
        kind = self._test.column(column).type
        if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
            training, values = (
                table.column(column).cast(pa.float64()).to_numpy(zero_copy_only=False)
                for table in (self._train, self._test)
            )
            training = training[~np.isnan(training)]
            if len(np.unique(training)) > _DISTINCT:
                cuts = np.unique(np.quantile(training, [0.25, 0.5, 0.75], method="inverted_cdf"))
                return _spans(cuts, values)
        names, codes = np.unique(rows.texts(self._test, column), return_inverse=True)
        return GroupedColumn(codes, [str(name) or "missing" for name in names])


def _spans(cuts: Floats, values: Floats) -> GroupedColumn:
    edges = [f"{cut:.6g}" for cut in cuts]
    between = [f"{low} to below {high}" for low, high in pairwise(edges)]
    names = [f"below {edges[0]}", *between, f"{edges[-1]} or more", "missing"]
    return GroupedColumn(np.where(np.isnan(values), len(names) - 1, np.searchsorted(cuts, values, side="right")), names)


def supported(part: Slice, candidate: Scorecard, min_support: int) -> bool:
    """Return whether a slice has enough rows to be evaluated."""
    if len(part.rows) < min_support:
        return False
    inside = candidate.subset(part.rows)
    if isinstance(inside, Regression):
        return bool(np.ptp(inside.truth) > 0)
    _, counts = np.unique(inside.truth, return_counts=True)
    return bool(len(counts) > 1 and np.sort(counts)[-2] >= max(2, min_support // 10))


def measure(
    part: Slice, own: bootstrap.Distribution, everyone: bootstrap.Distribution, plain: Scorecard, confidence: float
) -> SliceMeasure:
    """Measure a slice: its primary metric and the paired difference to all rows, each with an interval.

    Args:
        part: The slice.
        own: Distribution of the primary metric on the slice.
        everyone: Distribution of the primary metric on all rows, with the same resamples.
        plain: The plain model on all rows: if it is equally bad on the slice, the slice is hard for every model.
        confidence: Confidence level of both intervals.
    """
    inside, difference = own.interval(confidence), (own - everyone).interval(confidence)
    return SliceMeasure(
        where=part.where,
        rows=len(part.rows),
        metric=inside.value,
        low=inside.low,
        high=inside.high,
        difference=difference.value,
        difference_low=difference.low,
        difference_high=difference.high,
        plain=float(plain.subset(part.rows).primary(np.ones((1, len(part.rows))))[0]),
    )


def worst(
    groups: Groups,
    columns: Sequence[str],
    candidate: Scorecard,
    plain: Scorecard,
    clusters: NDArray[np.intp],
    *,
    min_support: int,
    confidence: float,
    higher_is_better: bool,
    seed: int,
) -> WorstSlice | None:
    """Search every value of every column for the slice with the largest loss, and test its significance.

    One of many slices is always the worst, so the test corrects for the search: each of the twenty largest losses is
    divided by its bootstrap standard error, and its normal p-value is multiplied by the number of searched slices
    (Bonferroni). The largest loss whose p-value is below 1 - confidence is returned; if there is none, the largest
    loss, marked as within chance.
    """
    large = [part for column in columns for part in groups.slices([column]) if supported(part, candidate, min_support)]
    searched = [part for part in large if len(part.rows) < len(clusters)]
    if not searched:
        return None
    sign = 1.0 if higher_is_better else -1.0
    ones = np.ones((1, len(clusters)))
    inside = np.array([sign * candidate.subset(part.rows).primary(ones[:, part.rows])[0] for part in searched])
    shortlist = [searched[i] for i in np.argsort(inside, kind="stable")[:_SHORTLIST]]
    scorecards = [candidate.subset(part.rows) for part in shortlist]

    def statistic(weights: Floats) -> dict[int, Floats]:
        metrics = {i: scorecards[i].primary(weights[:, part.rows]) for i, part in enumerate(shortlist)}
        return metrics | {_ALL_ROWS: candidate.primary(weights)}

    drawn = bootstrap.distributions(statistic, clusters, resamples=_SEARCH_RESAMPLES, seed=seed)
    judged = []
    for i, part in enumerate(shortlist):
        difference = drawn[i] - drawn[_ALL_ROWS]
        error = difference.standard_error()
        p = min(1.0, len(searched) * float(ndtr(sign * difference.value / error))) if error > 0 else 1.0
        measured = measure(part, drawn[i], drawn[_ALL_ROWS], plain, confidence)
        judged.append(_judged(measured, searched=len(searched), p_adjusted=p, beyond_chance=p < 1 - confidence))
    return next((part for part in judged if part.beyond_chance), judged[0])


def _judged(part: SliceMeasure, *, searched: int, p_adjusted: float, beyond_chance: bool) -> WorstSlice:
    """Add the result of the test, and a remark that compares the slice with the plain model."""
    p = f"p = {p_adjusted:.2g} with a Bonferroni correction for {searched} slices"
    comparison = f"the plain model has {_decimals(part.plain)} there, the candidate {_decimals(part.metric)}"
    if beyond_chance:
        remark = f"{where(part.where)} is significantly worse than all rows ({p}); {comparison}."
    else:
        remark = (
            f"{where(part.where)} has the largest loss, but it is not significantly worse than all rows ({p}); "
            f"{comparison}."
        )
    return WorstSlice(
        **dict(part), searched=searched, p_adjusted=p_adjusted, beyond_chance=beyond_chance, remark=remark
    )


def _decimals(value: float | None) -> str:
    return "nan" if value is None else f"{value:.3f}"
