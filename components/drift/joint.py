"""A classifier two-sample test: rows whose columns look the same one by one may still differ together.

A classifier that tells two samples apart on rows it has not seen proves that they differ (Lopez-Paz and Oquab,
"Revisiting classifier two-sample tests", ICLR 2017). Under equality its AUC is the Mann-Whitney statistic, whose
variance is (n + m + 1) / (12 n m).
"""

import numpy as np
import pyarrow as pa

from components.shared.documents.monitoring import JointDrift
from components.shared.drift import tails
from components.shared.window_drift import matrix
from components.shared.window_drift.detector import ALPHA

ROWS_MIN = 200
ROWS_MAX = 5_000
AUC_MIN = 0.55
"""Smallest relevant AUC."""
_SEED = 7


def compare(reference: pa.Table, rows: pa.Table) -> JointDrift | None:
    """Return how well a classifier tells the two apart; None if a side has fewer than ``ROWS_MIN`` rows, or no column.

    Args:
        reference: Columns of numbers, truth values or texts.
        rows: The same columns.
    """
    if min(reference.num_rows, rows.num_rows) < ROWS_MIN or not reference.num_columns:
        return None
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from threadpoolctl import threadpool_limits

    rng = np.random.default_rng(_SEED)
    before, after, is_category = matrix.coded(*(matrix.sample(table, ROWS_MAX, rng) for table in (reference, rows)))
    n, m = len(before), len(after)
    features, side = np.concatenate([before, after]), np.repeat([0, 1], [n, m])
    model = HistGradientBoostingClassifier(
        max_iter=60, max_leaf_nodes=15, categorical_features=is_category, random_state=_SEED
    )
    folds = StratifiedKFold(4, shuffle=True, random_state=_SEED)
    # With several threads, two such processes at once on few cores wait for each other most of the time.
    with threadpool_limits(1):
        score = cross_val_predict(model, features, side, cv=folds, method="predict_proba")[:, 1]
    chance = tails.normal_critical(ALPHA) * float(np.sqrt((n + m + 1) / (12 * n * m)))
    threshold = max(AUC_MIN, 0.5 + chance)
    auc = float(roc_auc_score(side, score))
    return JointDrift(
        method="a classifier that tells them apart",
        statistic="cross-validated AUC",
        value=auc,
        threshold=threshold,
        is_drift=auc >= threshold,
    )
