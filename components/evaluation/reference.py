"""The reference of monitoring: the test rows as the server would have logged them, with their labels.

Test rows and not training rows, because the model has seen those: its scores on them are too good. The entity is left
out, since nothing that is compared needs it.
"""

import numpy as np
import pyarrow as pa

from components.evaluation.judged import Judged
from components.shared.documents.model_facts import ModelFacts
from components.shared.inference_log.columns import RECEIVED, RECEIVED_TYPES
from components.shared.inputs.rows import texts

ROWS_MAX = 50_000


def reference(judged: Judged) -> pa.Table:
    """Return event_time, label, score or scores, decision and the features of the test rows, or of a sample of them.

    Columns are called as in the inference log: ``received.<feature>``.
    """
    facts, test, card = judged.package.facts, judged.test, judged.scorecards.candidate
    rows = np.arange(test.num_rows)
    if len(rows) > ROWS_MAX:
        rows = np.sort(np.random.default_rng(judged.seed).choice(rows, ROWS_MAX, replace=False))
    table, score = test.take(pa.array(rows)), card.score[rows]
    columns = {
        "event_time": table[facts.event_time].cast(pa.timestamp("us", tz="UTC")),
        "label": _labels(table, facts),
        "scores" if score.ndim == 2 else "score": pa.array(list(score) if score.ndim == 2 else score),
        "decision": _decisions(score, facts),
    }
    features = {
        RECEIVED + feature.name: _feature(table, feature.name, RECEIVED_TYPES[feature.type])
        for feature in facts.features
    }
    return pa.table(columns | features)


def _labels(table: pa.Table, facts: ModelFacts) -> pa.Array:
    if facts.task == "regression":
        return table[facts.label].cast(pa.float64()).cast(pa.string())
    return pa.array(texts(table, facts.label), pa.string())


def _decisions(score: "np.ndarray", facts: ModelFacts) -> pa.Array:
    """Return what the server would have decided; null for a regression."""
    classes = np.array(facts.classes or (), dtype=object)
    if facts.task == "multiclass":
        return pa.array(classes[score[:, : len(classes)].argmax(axis=1)], pa.string())
    if facts.task == "binary" and facts.threshold is not None:
        return pa.array(classes[(score >= facts.threshold).astype(int)], pa.string())
    return pa.nulls(len(score), pa.string())


def _feature(table: pa.Table, name: str, kind: pa.DataType) -> pa.ChunkedArray | pa.Array:
    if pa.types.is_string(kind):
        return pa.array([text or None for text in texts(table, name)], pa.string())
    return table[name].cast(kind)
