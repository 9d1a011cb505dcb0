"""What the order of the scores says: AUC, average precision, ROC, for many weightings of the rows at once.

A bootstrap resample is a weighting: row i drawn c times has weight c. ``weights`` is always (resamples, rows), and a
result is (resamples,); ``np.ones((1, rows))`` gives the plain estimate. NaN where one of the two classes has no weight.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Ranking:
    """Rows sorted by score once, so that each resample costs two cumulative sums."""

    order: NDArray[np.intp]
    starts: NDArray[np.intp]
    positive: NDArray[np.bool_]
    score: Floats

    @staticmethod
    def of(positive: NDArray[np.bool_], score: Floats) -> "Ranking":
        """Sort by ascending score; ``starts`` marks where each group of tied scores begins."""
        order = np.argsort(score, kind="stable")
        ranked = score[order]
        starts = np.flatnonzero(np.concatenate(([True], ranked[1:] != ranked[:-1])))
        return Ranking(order, starts, positive[order], ranked[starts])

    def _grouped(self, weights: Floats) -> tuple[Floats, Floats]:
        """Sum the weights of positives and of all rows per group of ties, ascending by score."""
        ranked = weights[:, self.order]
        hits = ranked * self.positive
        if len(self.starts) == len(self.order):
            return hits, ranked
        return np.add.reduceat(hits, self.starts, axis=1), np.add.reduceat(ranked, self.starts, axis=1)

    def auc(self, weights: Floats) -> Floats:
        """Return the share of (positive, negative) pairs in the right order, a tie counting one half.

        This is the Mann-Whitney form of the area under the ROC curve (Hanley and McNeil, Radiology 143, 1982).

        >>> rows = Ranking.of(np.array([False, True, True]), np.array([0.1, 0.1, 0.9]))
        >>> rows.auc(np.ones((1, 3)))
        array([0.75])
        """
        hits, total = self._grouped(weights)
        misses = total - hits
        below = np.cumsum(misses, axis=1) - misses / 2
        pairs = hits.sum(axis=1) * misses.sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(pairs > 0, (hits * below).sum(axis=1) / pairs, np.nan)

    def average_precision(self, weights: Floats) -> Floats:
        """Return the precision at each threshold, weighted by the recall that it adds (no interpolation)."""
        hits, total = self._grouped(weights)
        hits, total = hits[:, ::-1], total[:, ::-1]
        acted = np.cumsum(total, axis=1)
        positives = hits.sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            precision = np.where(acted > 0, np.cumsum(hits, axis=1) / acted, 0.0)
            return np.where(positives > 0, (precision * hits).sum(axis=1) / positives, np.nan)

    def roc(self, points: int = 200) -> dict[str, list[float]]:
        """Return the ROC curve in at most ``points`` points, from nobody to everybody.

        A row counts as positive when its score is at least the threshold. The first threshold is the next float above
        the highest score (not infinity, which JSON cannot hold).
        """
        ones = np.ones((1, len(self.order)))
        hits, total = self._grouped(ones)
        tpr = np.concatenate(([0.0], np.cumsum(hits[0, ::-1]) / hits.sum()))
        fpr = np.concatenate(([0.0], np.cumsum((total - hits)[0, ::-1]) / (total - hits).sum()))
        thresholds = np.concatenate(([np.nextafter(self.score[-1], np.inf)], self.score[::-1]))
        # Spread the kept points along the curve's own length, or a steep start would be lost.
        length = fpr + tpr
        wanted = np.searchsorted(length, np.linspace(0.0, length[-1], points))
        kept = np.unique(np.concatenate(([0], wanted, [len(length) - 1])))[:points]
        kept[-1] = len(length) - 1
        return {"fpr": fpr[kept].tolist(), "tpr": tpr[kept].tolist(), "thresholds": thresholds[kept].tolist()}
