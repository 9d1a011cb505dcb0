"""Learn the preprocessing from the training rows, and from no other rows.

A numeric feature is encoded in four steps:

1. A missing value becomes the median; if the training rows have missing values, a flag marks it.
2. The value is clipped to the range of the training rows.
3. The value is normalised.
4. The value is bucketised by quantiles: a bucket below the value is 1, a bucket above it is 0, and the bucket that
   contains the value holds the position inside the bucket. The network thus learns a continuous, piecewise linear
   function.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.shared.inputs.categories import frequent
from components.shared.inputs.rows import Inputs

# Quantiles of more values would not be noticeably more accurate.
_SAMPLE = 200_000
# Values that are more than this many interquartile ranges outside the quartiles are clipped as outliers.
_REACH = 20.0
# The difference of two edges must not overflow float32.
_LARGEST = 1e37


@dataclass(frozen=True)
class Encoding:
    """Learned preprocessing. The first five lists have one entry per numeric feature, the next three one per bucket.

    ``gaps`` has the indices of the numeric features with a flag for missing values, ``vocabulary`` the categories of
    each categorical feature.
    """

    low: list[float]
    high: list[float]
    median: list[float]
    mean: list[float]
    scale: list[float]
    bucket_feature: list[int]
    bucket_low: list[float]
    bucket_width: list[float]
    gaps: list[int]
    vocabulary: list[list[str]]

    @property
    def width(self) -> int:
        """Return the number of encoded values of one row's numeric features."""
        return len(self.low) + len(self.bucket_feature) + len(self.gaps)

    @property
    def ids(self) -> int:
        """Return the number of category ids; id 0 is unused, and each feature has an id for unknown categories."""
        return 1 + len(self.keys()) + len(self.vocabulary)

    def keys(self) -> list[str]:
        """Return the key of every known category, prefixed with its feature's index; missing is a category.

        The id of the key at index i is i + 1. An unknown category has the id 1 + len(keys) + feature.
        """
        return [f"{feature}:{word}" for feature, words in enumerate(self.vocabulary) for word in ["", *words]]

    def numbers(self) -> dict[str, Any]:
        """Return the fields about numeric features, by name."""
        return {name: value for name, value in asdict(self).items() if name != "vocabulary"}


def learn(train: Inputs, *, bins: int, max_vocabulary: int) -> Encoding:
    """Learn the ranges, quantiles and vocabularies.

    Args:
        train: The training rows.
        bins: Largest number of buckets per numeric feature; a feature with fewer distinct values has fewer.
        max_vocabulary: Largest number of categories per feature; the most frequent ones are kept.
    """
    features = [_feature(column, bins) for column in train.numeric.T]
    return Encoding(
        low=[float(edges[0]) for edges, *_ in features],
        high=[float(edges[-1]) for edges, *_ in features],
        median=[median for _, median, _, _ in features],
        mean=[mean for _, _, mean, _ in features],
        scale=[scale for _, _, _, scale in features],
        bucket_feature=[index for index, (edges, *_) in enumerate(features) for _ in edges[1:]],
        bucket_low=[float(edge) for edges, *_ in features for edge in edges[:-1]],
        bucket_width=[float(width) for edges, *_ in features for width in np.diff(edges)],
        gaps=[i for i, share in enumerate(np.isnan(train.numeric).mean(axis=0)) if 0 < share < 1],
        vocabulary=[frequent(column, max_vocabulary) for column in train.categorical.T],
    )


def _feature(column: NDArray[np.float32], bins: int) -> tuple[NDArray[np.float64], float, float, float]:
    """Return edges, median, mean and scale; a feature without values or variation has one edge and no bucket."""
    finite = column[np.isfinite(column)].astype(np.float64)
    if not len(finite):
        return np.zeros(1), 0.0, 0.0, 1.0
    sample = finite if len(finite) <= _SAMPLE else finite[:: len(finite) // _SAMPLE + 1]
    quartiles = np.quantile(sample, [0.25, 0.75])
    reach = _REACH * (quartiles[1] - quartiles[0]) or np.inf
    low = max(finite.min(), quartiles[0] - reach, -_LARGEST)
    high = min(finite.max(), quartiles[1] + reach, _LARGEST)
    clipped = np.clip(sample, low, high)
    distinct = np.unique(clipped)
    cuts = distinct if len(distinct) <= bins + 1 else np.quantile(clipped, np.linspace(0, 1, bins + 1)[1:-1])
    edges = np.unique(np.concatenate(([low], cuts, [high])).astype(np.float32)).astype(np.float64)
    # Merge edges whose distance is too small to divide by in float32.
    edges = edges[np.concatenate(([True], np.diff(edges) > 1e-30))]
    clipped = np.clip(clipped, edges[0], edges[-1])
    scale = float(clipped.std())
    return (
        edges,
        float(np.float32(np.median(clipped))),
        float(np.float32(clipped.mean())),
        scale if scale > 1e-30 else 1.0,
    )
