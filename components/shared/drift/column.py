"""One column of a sample, as the tests compare it: numbers, or categories."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_FEW_VALUES = 5
_CATEGORIES = 50
_EXPECTED = 2


@dataclass(frozen=True)
class CategoryCounts:
    """How often each category occurs on both sides; rare categories are counted together."""

    categories: tuple[str, ...]
    reference: Floats
    current: Floats

    def shares(self) -> tuple[Floats, Floats]:
        """Return the shares of the categories in the reference and in the current sample."""
        return self.reference / self.reference.sum(), self.current / self.current.sum()


def numbers(values: Floats) -> Floats:
    """Return the finite values in ascending order."""
    return np.sort(values[np.isfinite(values)])


def has_few_values(reference: Floats) -> bool:
    """Return whether a column of numbers has so few different values (five) that they are categories."""
    return len(np.unique(reference[np.isfinite(reference)])) <= _FEW_VALUES


def as_categories(values: Floats) -> list[str | None]:
    """Write numbers as categories; None where a value is missing or infinite."""
    return [f"{value:g}" if np.isfinite(value) else None for value in values]


def count(reference: Sequence[str | None], current: Sequence[str | None]) -> CategoryCounts:
    """Count the categories of two samples; missing values are not counted.

    A category that is expected fewer than twice on a side, or is not among the 50 most frequent ones, is counted
    under "other", because the distribution of a test statistic is unknown for such cells.

    >>> counts = count(["a"] * 10 + ["b"] * 10, ["a"] * 9 + ["c"] * 11)
    >>> counts.categories, counts.current
    (('a', 'c', 'b'), array([ 9., 11.,  0.]))
    """
    before, after = Counter(reference), Counter(current)
    before.pop(None, None)
    after.pop(None, None)
    n, m = before.total(), after.total()
    pooled = before + after
    smallest = _EXPECTED * (n + m) / max(1, min(n, m))
    ranked = sorted(pooled, key=lambda name: (-pooled[name], name))
    named = [name for name in ranked[:_CATEGORIES] if pooled[name] >= smallest]
    rest = pooled.total() - sum(pooled[name] for name in named)
    left = [float(before[name]) for name in named]
    right = [float(after[name]) for name in named]
    if rest:
        named.append("other")
        left.append(n - sum(left))
        right.append(m - sum(right))
    return CategoryCounts(tuple(str(name) for name in named), np.array(left), np.array(right))
