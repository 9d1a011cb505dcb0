"""What the order of the scores says: AUC, average precision, ROC, for many weightings of the rows at once.

A bootstrap resample is a weighting: row i drawn c times has weight c. ``weights`` is always (resamples, rows), and a
result is (resamples,); ``np.ones((1, rows))`` gives the plain estimate. NaN where one of the two classes has no weight.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.shared.documents.measurements import RocCurve

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Ranking:
    """Rows sorted by score once, so that each resample costs one cumulative sum.

    ``hits`` and ``misses`` are the rows of either class by ascending score; ``below`` and ``upto`` say for each hit how
    many misses have a lower score, and how many a score that is not higher.
    """

    order: NDArray[np.intp]
    positive: NDArray[np.bool_]
    score: Floats
    hits: NDArray[np.intp]
    misses: NDArray[np.intp]
    below: NDArray[np.intp]
    upto: NDArray[np.intp]

    @staticmethod
    def of(positive: NDArray[np.bool_], score: Floats) -> "Ranking":
        """Sort by ascending score."""
        order = np.argsort(score, kind="stable")
        positive, score = positive[order], score[order]
        below = np.searchsorted(score[~positive], score[positive], side="left")
        upto = np.searchsorted(score[~positive], score[positive], side="right")
        return Ranking(order, positive, score, order[positive], order[~positive], below, upto)

    def auc(self, weights: Floats) -> Floats:
        """Return the share of (positive, negative) pairs in the right order, a tie counting one half.

        This is the Mann-Whitney form of the area under the ROC curve (Hanley and McNeil, Radiology 143, 1982).

        >>> rows = Ranking.of(np.array([False, True, True]), np.array([0.1, 0.1, 0.9]))
        >>> rows.auc(np.ones((1, 3)))
        array([0.75])
        """
        hits = weights[:, self.hits]
        passed = np.zeros((len(weights), len(self.misses) + 1))
        np.cumsum(weights[:, self.misses], axis=1, out=passed[:, 1:])
        right = np.einsum("ij,ij->i", hits, passed[:, self.below])
        not_wrong = right if (self.below == self.upto).all() else np.einsum("ij,ij->i", hits, passed[:, self.upto])
        pairs = hits.sum(axis=1) * passed[:, -1]
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(pairs > 0, (right + not_wrong) / 2 / pairs, np.nan)

    def _grouped(self, weights: Floats) -> tuple[Floats, Floats, Floats]:
        """Return the distinct scores, ascending, and the weights of positives and of all rows that have each."""
        starts = np.flatnonzero(np.concatenate(([True], self.score[1:] != self.score[:-1])))
        ranked = weights[:, self.order]
        hits = ranked * self.positive
        if len(starts) < len(self.order):
            hits, ranked = np.add.reduceat(hits, starts, axis=1), np.add.reduceat(ranked, starts, axis=1)
        return self.score[starts], hits, ranked

    def average_precision(self, weights: Floats) -> Floats:
        """Return the precision at each threshold, weighted by the recall that it adds (no interpolation)."""
        _, hits, total = self._grouped(weights)
        hits, total = hits[:, ::-1], total[:, ::-1]
        acted = np.cumsum(total, axis=1)
        positives = hits.sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            precision = np.where(acted > 0, np.cumsum(hits, axis=1) / acted, 0.0)
            return np.where(positives > 0, (precision * hits).sum(axis=1) / positives, np.nan)

    def roc(self, points: int = 200) -> RocCurve:
        """Return the ROC curve in at most ``points`` points, from nobody to everybody.

        A row counts as positive when its score is at least the threshold. The first threshold is the next float above
        the highest score (not infinity, which JSON cannot hold).
        """
        ones = np.ones((1, len(self.order)))
        score, hits, total = self._grouped(ones)
        tpr = np.concatenate(([0.0], np.cumsum(hits[0, ::-1]) / hits.sum()))
        fpr = np.concatenate(([0.0], np.cumsum((total - hits)[0, ::-1]) / (total - hits).sum()))
        thresholds = np.concatenate(([np.nextafter(score[-1], np.inf)], score[::-1]))
        # Spread the kept points along the curve's own length, or a steep start would be lost.
        length = fpr + tpr
        nearest = np.searchsorted(length, np.linspace(0.0, length[-1], points))
        selected = np.unique(np.concatenate(([0], nearest, [len(length) - 1])))[:points]
        selected[-1] = len(length) - 1
        return RocCurve(
            fpr=fpr[selected].tolist(), tpr=tpr[selected].tolist(), thresholds=thresholds[selected].tolist()
        )
