"""Alibi Detect's tests of all columns together."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa

from components.shared.documents.monitoring import JointDrift
from components.shared.drift import univariate
from components.shared.window_drift import matrix
from components.shared.window_drift.detector import ALPHA

ROWS_MIN = 200
_ROWS_MAX = 5_000
_KERNEL_ROWS_MAX = 1_000
"""A kernel compares each row with each, for every permutation."""
_AUC_MIN = 0.55
_CLUSTERS, _PERMUTATIONS, _SEED = 8, 200, 7


def classifier(reference: pa.Table, rows: pa.Table) -> JointDrift:
    """Test whether scikit-learn's gradient boosting tells the two apart (``ClassifierDrift``)."""
    from alibi_detect.cd import ClassifierDrift
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score
    from threadpoolctl import threadpool_limits

    before, after, is_category = matrix.coded(*_sampled(reference, rows, _ROWS_MAX))
    model = HistGradientBoostingClassifier(
        max_iter=60, max_leaf_nodes=15, categorical_features=is_category, random_state=_SEED
    )
    test = ClassifierDrift(
        before, model, backend="sklearn", p_val=ALPHA, preds_type="probs", binarize_preds=False, n_folds=4,
        train_size=None, seed=_SEED,
    )  # fmt: skip
    # With several threads, two such processes at once on few cores wait for each other most of the time.
    with threadpool_limits(1):
        outcome = test.predict(after)["data"]
    side = np.repeat([0, 1], [len(outcome["probs_ref"]), len(outcome["probs_test"])])
    auc = float(roc_auc_score(side, np.concatenate([outcome["probs_ref"], outcome["probs_test"]])))
    return JointDrift(
        method="Alibi's ClassifierDrift",
        statistic="cross-validated AUC",
        value=auc,
        threshold=_AUC_MIN,
        is_drift=bool(outcome["is_drift"]) and auc >= _AUC_MIN,
    )


def mmd(reference: pa.Table, rows: pa.Table) -> JointDrift:
    """Test the maximum mean discrepancy by permutation (``MMDDrift``)."""
    return _mmd(*matrix.scaled(*_sampled(reference, rows, _KERNEL_ROWS_MAX)), "Alibi's MMDDrift")


def autoencoder(reference: pa.Table, rows: pa.Table) -> JointDrift:
    """Test the maximum mean discrepancy of what the encoder of an autoencoder, trained on the reference, keeps."""
    import tensorflow as tf

    before, after = matrix.scaled(*_sampled(reference, rows, _ROWS_MAX))
    tf.keras.utils.set_random_seed(_SEED)
    width = before.shape[1]
    encoder = tf.keras.Sequential(
        [tf.keras.layers.Dense(max(8, width), activation="relu"), tf.keras.layers.Dense(max(2, width // 2))]
    )
    decoder = tf.keras.Sequential(
        [tf.keras.layers.Dense(max(8, width), activation="relu"), tf.keras.layers.Dense(width)]
    )
    network = tf.keras.Sequential([tf.keras.Input((width,)), encoder, decoder])
    network.compile(optimizer="adam", loss="mse")
    network.fit(before, before, epochs=30, batch_size=128, verbose=0)
    left, right = (encoder.predict(side[:_KERNEL_ROWS_MAX], verbose=0) for side in _shuffled(before, after))
    return _mmd(left, right, "Alibi's MMDDrift on the codes of an autoencoder")


def kmeans(reference: pa.Table, rows: pa.Table) -> JointDrift:
    """Test the shares of the clusters that k-means finds in the reference (``ChiSquareDrift``)."""
    from alibi_detect.cd import ChiSquareDrift
    from sklearn.cluster import KMeans

    before, after = matrix.scaled(*_sampled(reference, rows, _ROWS_MAX))
    clusters = KMeans(_CLUSTERS, n_init=4, random_state=_SEED).fit(before)
    left, right = clusters.predict(before), clusters.predict(after)
    kinds = {0: list(range(_CLUSTERS))}
    test = ChiSquareDrift(left[:, None].astype(float), p_val=ALPHA, categories_per_feature=kinds)
    outcome = test.predict(right[:, None].astype(float), drift_type="feature")["data"]
    shares = [np.bincount(side, minlength=_CLUSTERS) / len(side) for side in (left, right)]
    distance = univariate.jensen_shannon(*shares)
    return JointDrift(
        method="the shares of clusters (Alibi's ChiSquareDrift)",
        statistic="Jensen-Shannon distance",
        value=distance,
        threshold=univariate.DISTANCE_MIN,
        is_drift=bool(outcome["is_drift"][0]) and distance >= univariate.DISTANCE_MIN,
    )


METHODS: dict[str, Callable[[pa.Table, pa.Table], JointDrift]] = {
    "classifier": classifier,
    "mmd": mmd,
    "autoencoder": autoencoder,
    "kmeans": kmeans,
}


def _mmd(before: matrix.Floats, after: matrix.Floats, method: str) -> JointDrift:
    import tensorflow as tf
    from alibi_detect.cd import MMDDrift

    tf.random.set_seed(_SEED)
    test = MMDDrift(before.astype(np.float32), backend="tensorflow", p_val=ALPHA, n_permutations=_PERMUTATIONS)
    outcome = test.predict(after.astype(np.float32))["data"]
    return JointDrift(
        method=method,
        statistic="squared maximum mean discrepancy",
        value=float(outcome["distance"]),
        threshold=float(outcome["distance_threshold"]),
        is_drift=bool(outcome["is_drift"]),
    )


def _sampled(reference: pa.Table, rows: pa.Table, most: int) -> tuple[pa.Table, pa.Table]:
    rng = np.random.default_rng(_SEED)
    return matrix.sample(reference, most, rng), matrix.sample(rows, most, rng)


def _shuffled(*sides: matrix.Floats) -> list[matrix.Floats]:
    rng = np.random.default_rng(_SEED)
    return [rng.permutation(side) for side in sides]
