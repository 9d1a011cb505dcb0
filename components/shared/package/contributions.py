"""What each feature contributed to a score: Shapley values of the model's margin against reference rows.

The margin is what the model adds up before it becomes a score: the log-odds of a binary model, the logits of a
multiclass one, the value of a regression. The contribution of a feature is the mean change of the margin as the
feature takes the request's value instead of a reference row's, over all orders in which the features may change
(Shapley, 1953; as "interventional" Shapley values in Lundberg and Lee, 2017). In one order the changes add up to the
difference of the two rows' margins, therefore the contributions and the base, which is the mean margin of the reference
rows, always add up to the margin.

For a model that adds up one function per feature any order gives the exact answer. For others, orders are sampled in
pairs of an order and its reverse (Covert and Lee, 2021: "antithetic" sampling), which is exact where no more than two
features interact. Two pairs per reference row tell the error of what remains.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from components.shared.documents.package_reference import PackageReference

Floats = NDArray[np.float64]
Tensors = Mapping[str, NDArray[Any]]

_PAIRS = 2
_LARGEST_CALL = 6_000
"""Rows that the model scores to explain one: with many features, fewer reference rows are used."""
_SEED = 20_230_517


class Contributions(NamedTuple):
    """One explained row.

    ``margin`` and ``base`` are (units,), ``by_feature`` and ``error`` (features, units), all float64; the features are
    the numeric ones and then the categorical ones, as the model orders them. ``error`` is one standard error of the
    sampling, 0 where the contributions are exact.
    """

    margin: Floats
    base: Floats
    by_feature: Floats
    error: Floats


@dataclass(frozen=True)
class Explainer:
    """Explains the scores of one model.

    Attributes:
        margins: Scores input tensors, (rows,) or (rows, units), before they become scores.
        reference: The reference rows as input tensors.
        is_additive: Whether the margin is a sum of one function per feature.
    """

    margins: Callable[[Tensors], NDArray[np.float32]]
    reference: Tensors
    is_additive: bool

    def explain(self, tensors: Tensors, row: int) -> Contributions:
        """Explain one row of a request; equal rows get equal explanations.

        Args:
            tensors: The request's input tensors.
            row: The row, from 0.

        Returns:
            The contributions; with NaN or infinity where the model's margin has them.
        """
        wanted = {name: values[row : row + 1] for name, values in tensors.items()}
        return self._exact(wanted) if self.is_additive else self._sampled(wanted)

    def _exact(self, wanted: Tensors) -> Contributions:
        """Go from the first reference row to the row and to every reference row, in one order."""
        ends = {name: np.concatenate([values, self.reference[name]]) for name, values in wanted.items()}
        count, features = _shape(ends)
        start = {name: values[1:2].repeat(count, axis=0) for name, values in ends.items()}
        margins, changes = self._walk(start, ends, np.tile(np.arange(features), (count, 1)))
        mean = changes[1:].mean(axis=0)
        return Contributions(margins[0], margins[1:].mean(axis=0), changes[0] - mean, np.zeros_like(mean))

    def _sampled(self, wanted: Tensors) -> Contributions:
        """Go from every reference row to the row, in pairs of orders."""
        available, features = _shape(self.reference)
        used = max(2, min(available, _LARGEST_CALL // (2 * _PAIRS * (features + 1))))
        used = min(used, available)
        repeats = 2 * _PAIRS
        starts = {name: values[:used].repeat(repeats, axis=0) for name, values in self.reference.items()}
        ends = {name: values.repeat(used * repeats, axis=0) for name, values in wanted.items()}
        random = np.random.default_rng(_SEED)
        forward = random.permuted(np.tile(np.arange(features), (used * _PAIRS, 1)), axis=1)
        positions = np.stack([forward, features - 1 - forward], axis=1).reshape(-1, features)
        margins, changes = self._walk(starts, ends, positions)
        before = margins - changes.sum(axis=1)
        pairs = changes.reshape(used, _PAIRS, 2, features, -1).mean(axis=2)
        error = np.sqrt(pairs.var(axis=1, ddof=1).sum(axis=0) / _PAIRS) / used
        return Contributions(margins.mean(axis=0), before.mean(axis=0), pairs.mean(axis=(0, 1)), error)

    def _walk(self, starts: Tensors, ends: Tensors, positions: NDArray[np.int64]) -> tuple[Floats, Floats]:
        """Replace one feature after another on each of several paths.

        Args:
            starts: Where each path begins, as input tensors.
            ends: Where it ends.
            positions: (paths, features), at which step of its path a feature is replaced, from 0.

        Returns:
            The margins at the ends (paths, units), and by how much each feature changed the margin
            (paths, features, units).
        """
        paths, features = positions.shape
        replaced = positions[:, None, :] < np.arange(features + 1)[None, :, None]
        mixed, first = {}, 0
        for name, start in starts.items():
            columns = start.shape[1]
            own = replaced[:, :, first : first + columns]
            rows = np.where(own, ends[name][:, None, :], start[:, None, :])
            mixed[name] = np.ascontiguousarray(rows.reshape(paths * (features + 1), columns))
            first += columns
        margins = self.margins(mixed).astype(np.float64).reshape(paths, features + 1, -1)
        by_step = np.diff(margins, axis=1)
        return margins[:, -1], np.take_along_axis(by_step, positions[:, :, None], axis=1)


def _shape(tensors: Tensors) -> tuple[int, int]:
    """Return the number of rows and of features."""
    values = list(tensors.values())
    return len(values[0]), sum(columns.shape[1] for columns in values)


def tensors_of(reference: PackageReference) -> dict[str, NDArray[Any]]:
    """Return reference rows as the model's input tensors; a kind without features is absent.

    >>> tensors_of(PackageReference(numeric=((1.0, None),), categorical=((),)))
    {'numeric': array([[ 1., nan]], dtype=float32)}
    """
    numeric = np.array(reference.numeric, dtype=np.float32)
    categorical = np.array(reference.categorical, dtype=object)
    named = {"numeric": numeric, "categorical": categorical}
    return {name: values for name, values in named.items() if values.ndim == 2 and values.shape[1]}
