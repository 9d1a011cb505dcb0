"""A classifier two-sample test: rows whose columns look the same one by one may still differ together.

A classifier that tells two samples apart on rows it has not seen proves that they differ (Lopez-Paz and Oquab,
"Revisiting classifier two-sample tests", ICLR 2017). Under equality its AUC is the Mann-Whitney statistic, whose
variance is (n + m + 1) / (12 n m).
"""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components.shared.documents.monitoring import JointDrift
from components.shared.drift import tails

ROWS_MIN = 200
ROWS_MAX = 5_000
AUC_MIN = 0.55
"""Smallest relevant AUC."""
_ALPHA, _SEED = 0.01, 7


def compare(reference: pa.Table, rows: pa.Table) -> JointDrift | None:
    """Return how well a classifier tells the two apart; None if a side has fewer than ``ROWS_MIN`` rows, or no column.

    Args:
        reference: Columns of numbers, truth values or texts.
        rows: The same columns.
    """
    if min(reference.num_rows, rows.num_rows) < ROWS_MIN or not reference.num_columns:
        return None
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    rng = np.random.default_rng(_SEED)
    sampled = [_sample(table, rng) for table in (reference, rows)]
    features, is_category = _matrix(pa.concat_tables(sampled, promote_options="permissive"))
    side = np.repeat([0, 1], [table.num_rows for table in sampled])
    model = HistGradientBoostingClassifier(
        max_iter=60, max_leaf_nodes=15, categorical_features=is_category, random_state=_SEED
    )
    folds = StratifiedKFold(4, shuffle=True, random_state=_SEED)
    score = cross_val_predict(model, features, side, cv=folds, method="predict_proba")[:, 1]
    n, m = (table.num_rows for table in sampled)
    chance = tails.normal_critical(_ALPHA) * float(np.sqrt((n + m + 1) / (12 * n * m)))
    threshold = max(AUC_MIN, 0.5 + chance)
    auc = _auc(score, side)
    return JointDrift(auc=auc, threshold=threshold, is_drift=auc >= threshold)


def _sample(table: pa.Table, rng: np.random.Generator) -> pa.Table:
    if table.num_rows <= ROWS_MAX:
        return table
    return table.take(pa.array(np.sort(rng.choice(table.num_rows, ROWS_MAX, replace=False))))


def _matrix(table: pa.Table) -> tuple[NDArray[np.float64], list[bool]]:
    """Return the columns as numbers, NaN where a value is missing, and which of them are codes of categories."""
    columns, is_category = [], []
    for name in table.column_names:
        values, codes = table[name], pa.types.is_string(table[name].type)
        if codes:
            # More categories than the trees take are one.
            encoded = (
                values.combine_chunks().dictionary_encode().indices.cast(pa.float64()).to_numpy(zero_copy_only=False)
            )
            columns.append(np.minimum(encoded, 250.0))
        else:
            columns.append(values.cast(pa.float64()).to_numpy(zero_copy_only=False))
        is_category.append(codes)
    return np.column_stack(columns), is_category


def _auc(score: NDArray[np.float64], side: NDArray[np.int_]) -> float:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(side, score))
