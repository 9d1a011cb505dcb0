"""Do probabilities mean what they say? Reliability bins, expected calibration error, Brier score."""

import numpy as np
from numpy.typing import NDArray

from components.shared.documents.measurements import Calibration, CalibrationBin
from components.shared.measures.ranking import Floats

BINS = 10


def calibration(score: Floats, hit: NDArray[np.bool_], brier: float) -> Calibration:
    """Compare mean score and share of hits in ten bins of (about) equal numbers of rows; equal scores share a bin.

    The expected calibration error is the mean distance of the two over rows (Naeini et al., 2015), on bins of equal
    mass rather than width (Nixon et al., 2019): with rare positives nearly all rows would fall into one bin of ten.

    Args:
        score: (rows,) probability of the positive class; for several classes, of the answer given.
        hit: Whether the row was positive; for several classes, whether the answer was right.
        brier: Mean squared distance of probabilities and truth, as measured elsewhere.

    >>> calibration(np.array([0.2, 0.2, 0.8, 0.8]), np.array([False, False, True, False]), 0.1).ece
    0.25
    """
    cuts = np.unique(np.quantile(score, np.linspace(0, 1, BINS + 1)[1:-1], method="inverted_cdf"))
    codes = np.unique(np.searchsorted(cuts, score, side="left"), return_inverse=True)[1]
    rows = np.bincount(codes)
    mean_score = np.bincount(codes, score) / rows
    share_positive = np.bincount(codes, hit.astype(float)) / rows
    bins = tuple(
        CalibrationBin(mean_score=mean, share_positive=share, rows=count)
        for mean, share, count in zip(mean_score.tolist(), share_positive.tolist(), rows.tolist(), strict=True)
    )
    distance = float(np.abs(mean_score - share_positive) @ rows / rows.sum())
    return Calibration(bins=bins, ece=round(distance, 12), brier=brier)
