"""What preprocessing learns from the training rows; nothing here looks at other rows.

A number is clipped to the range that was seen, filled in with the median where it is missing (with a flag beside it,
if training rows had gaps), normalised, and bucketised by quantiles. A bucket holds 1 below its value, 0 above, and
the position of the value inside its own bucket: the network then draws a line per bucket, without cliffs at the edges.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.shared.inputs.categories import frequent
from components.shared.inputs.rows import Inputs

# Quantiles of more values than this would only cost time.
_SAMPLE = 200_000
# Values farther than this many interquartile ranges from the quartiles are clipped: they are mistakes or dust.
_REACH = 20.0
# No difference of two edges may overflow float32.
_LARGEST = 1e37


@dataclass(frozen=True)
class Encoding:
    """Learned preprocessing. The first five lists hold one entry per numeric feature, the next three one per bucket."""

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
        """Return how many numbers the network gets for the numeric features of one row."""
        return len(self.low) + len(self.bucket_feature) + len(self.gaps)

    @property
    def ids(self) -> int:
        """Return how many ids categories can have: one is spare, and each feature has one for 'never seen'."""
        return 1 + len(self.keys()) + len(self.vocabulary)

    def keys(self) -> list[str]:
        """Return the text of every known category, made unique by its feature's number; missing is a category.

        The id of the key at index i is i + 1. A category that was never seen has the id 1 + len(keys) + feature.
        """
        return [f"{feature}:{word}" for feature, words in enumerate(self.vocabulary) for word in ["", *words]]

    def numbers(self) -> dict[str, Any]:
        """Return the part that is about numbers, as plain lists."""
        return {name: value for name, value in asdict(self).items() if name != "vocabulary"}


def learn(train: Inputs, *, bins: int, max_vocabulary: int) -> Encoding:
    """Learn ranges, quantiles and vocabularies.

    Args:
        train: The training rows, and no others.
        bins: Most buckets per numeric feature; fewer where it has fewer distinct values.
        max_vocabulary: Most frequent categories kept per feature.
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
    """Return edges, median, mean and scale; a feature without values or spread has one edge and no bucket."""
    known = column[np.isfinite(column)].astype(np.float64)
    if not len(known):
        return np.zeros(1), 0.0, 0.0, 1.0
    sample = known if len(known) <= _SAMPLE else known[:: len(known) // _SAMPLE + 1]
    quartiles = np.quantile(sample, [0.25, 0.75])
    reach = _REACH * (quartiles[1] - quartiles[0]) or np.inf
    low = max(known.min(), quartiles[0] - reach, -_LARGEST)
    high = min(known.max(), quartiles[1] + reach, _LARGEST)
    clipped = np.clip(sample, low, high)
    distinct = np.unique(clipped)
    cuts = distinct if len(distinct) <= bins + 1 else np.quantile(clipped, np.linspace(0, 1, bins + 1)[1:-1])
    edges = np.unique(np.concatenate(([low], cuts, [high])).astype(np.float32)).astype(np.float64)
    # Edges that float32 cannot divide by the distance of are one edge.
    edges = edges[np.concatenate(([True], np.diff(edges) > 1e-30))]
    clipped = np.clip(clipped, edges[0], edges[-1])
    scale = float(clipped.std())
    return (
        edges,
        float(np.float32(np.median(clipped))),
        float(np.float32(clipped.mean())),
        scale if scale > 1e-30 else 1.0,
    )
