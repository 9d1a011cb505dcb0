"""What scores say of their own answers: right under covariate shift, silent outside the test rows, blind to meaning."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from components.performance import estimation
from components.shared.documents.model_facts import ModelFacts
from components.shared.documents.monitoring import Estimate
from tests import documents

FIRST = datetime(2026, 1, 1, tzinfo=UTC)
FACTS = documents.model_facts(threshold=0.5)


def made(rows: int, seed: int, *, mean: float = 0.0, meaning: float = 1.0, bias: float = 0.0) -> pa.Table:
    """Return rows of one feature, whose meaning is that of the model's scores, or another one.

    Args:
        rows: Number of rows.
        seed: Where chance comes from.
        mean: Of the feature.
        meaning: Of the feature for the label; 1 is what the model takes it for.
        bias: By which the model's log odds are wrong.
    """
    rng = np.random.default_rng(seed)
    x = rng.normal(mean, 1.0, rows)
    label = rng.uniform(size=rows) < 1 / (1 + np.exp(-2 * meaning * x))
    score = 1 / (1 + np.exp(-2 * x - bias))
    return pa.table(
        {
            "event_time": pa.array([FIRST + timedelta(minutes=n) for n in range(rows)], pa.timestamp("us", "UTC")),
            "score": pa.array(score),
            "decision": pa.array(np.where(score >= 0.5, "yes", "no")),
            "label": pa.array(np.where(label, "yes", "no")),
            "received.x": pa.array(np.clip(x, -3, 3)),
            "received.kind": pa.array(np.where(x > 0, "a", "b")),
        }
    )


def wrong(rows: pa.Table) -> float:
    return pc.mean(pc.not_equal(rows["decision"], rows["label"]).cast(pa.float64())).as_py()


def estimated(reference: pa.Table, rows: pa.Table, facts: ModelFacts = FACTS, tolerated: float = 0.25) -> Estimate:
    return estimation.estimate(facts, reference, rows, tolerated=tolerated, alpha=0.01, seed=5)


@pytest.mark.parametrize(("reference", "bias"), [(1000, 0.0), (4000, 0.0), (4000, 1.0)])
def test_nine_of_ten_intervals_hold_the_truth_also_of_a_model_that_is_not_calibrated(reference, bias):
    held = []
    for seed in range(40):
        rows = made(400, seed, bias=bias)
        loss = estimated(made(reference, seed + 100, bias=bias), rows).loss
        held.append(loss.low <= wrong(rows) <= loss.high)

    assert 0.8 <= np.mean(held) <= 1.0


def test_an_interval_is_no_wider_than_chance_requires():
    loss = estimated(made(20_000, 1), made(2_000, 2)).loss

    chance = 2 * 1.645 * (loss.value * (1 - loss.value) / 2_000) ** 0.5
    assert chance * 0.8 < loss.high - loss.low < chance * 1.8


def test_a_population_that_moves_to_where_the_answer_is_uncertain_is_expected_to_cost():
    reference = made(4000, 1)
    narrow = made(6000, 2).filter(pc.less(pc.abs(made(6000, 2)["received.x"]), 0.5))

    estimate = estimated(reference, narrow, tolerated=wrong(reference) + 0.03)

    assert estimate.loss.value == pytest.approx(wrong(narrow), abs=0.03) and wrong(narrow) > wrong(reference) + 0.1
    assert estimate.is_risen and estimate.metrics["auc"].value < 0.75
    assert not estimated(reference, made(2000, 3), tolerated=wrong(reference) + 0.03).is_risen


def test_an_input_that_means_something_else_is_invisible():
    changed = made(2000, 2, meaning=-1.0)

    estimate = estimated(made(4000, 1), changed)

    assert wrong(changed) > 0.7 and estimate.loss.value < 0.25 and not estimate.is_risen


@pytest.mark.parametrize(
    ("column", "value", "share"),
    [("received.x", 3.5, 0.11), ("received.x", None, 0.11), ("received.kind", "c", 0.11), ("received.kind", None, 0.2)],
)
def test_rows_unlike_any_test_row_are_not_estimated_once_there_are_many(column, value, share):
    rows, reference = made(1000, 2), made(4000, 1)

    def strange(count: int) -> pa.Table:
        values = [value] * count + rows[column].to_pylist()[count:]
        return rows.set_column(rows.column_names.index(column), column, pa.array(values, rows[column].type))

    estimate = estimated(reference, strange(int(share * 1000)))
    assert estimate.loss is None and estimate.reason.startswith(f"cannot know: {share:.0%} of the rows")
    assert estimated(reference, strange(90)).loss is not None


def test_a_column_that_is_not_logged_or_was_missing_before_is_no_reason():
    reference = made(4000, 1)
    position = reference.column_names.index("received.kind")
    gaps = reference.set_column(position, "received.kind", pa.array([None] * 4000, pa.string()))

    assert estimation.outside_share(reference, made(100, 2).drop_columns(["received.kind"])) == 0
    assert estimation.outside_share(gaps, made(100, 2)) == 1
    assert estimation.outside_share(reference, made(100, 2).slice(0, 0)) == 0


def test_a_few_rows_are_not_estimated():
    assert estimated(made(4000, 1), made(49, 2)).reason == "the window has 49 rows of the release, and 50 are needed"


def test_an_unsteady_reference_widens_the_interval():
    steady = made(6000, 1)
    first, second = made(3000, 1), made(3000, 2, meaning=0.4)
    unsteady = pa.concat_tables([first, second]).set_column(0, "event_time", steady["event_time"])

    calm, rough = (estimated(reference, made(1000, 3)).loss for reference in (steady, unsteady))

    assert rough.high - rough.low > 1.5 * (calm.high - calm.low)


def test_several_classes_are_estimated_by_their_decisions():
    facts = documents.model_facts(task="multiclass", classes=("a", "b", "c"), positive=None, threshold=None)
    names = np.array(["a", "b", "c"])

    def rows(count: int, seed: int) -> pa.Table:
        rng = np.random.default_rng(seed)
        scores = rng.dirichlet([0.6, 0.6, 0.6], count)
        label = (scores.cumsum(axis=1) > rng.uniform(size=(count, 1))).argmax(axis=1)
        table = made(count, seed).drop_columns(["score"]).append_column("scores", pa.array(list(scores)))
        table = table.set_column(1, "decision", pa.array(names[scores.argmax(axis=1)]))
        return table.set_column(2, "label", pa.array(names[label]))

    held = [
        (loss := estimated(rows(3000, seed + 50), now := rows(400, seed), facts).loss).low <= wrong(now) <= loss.high
        for seed in range(10)
    ]
    assert sum(held) >= 8


def test_a_label_unknown_to_the_model_counts_as_wrong():
    reference = made(3000, 1)
    labels = ["new" if n % 5 == 0 else label for n, label in enumerate(reference["label"].to_pylist())]
    facts = documents.model_facts(task="multiclass", classes=("no", "yes"), positive=None, threshold=None)
    scores = pa.array([[1 - p, p] for p in reference["score"].to_pylist()])
    table = reference.drop_columns(["score"]).append_column("scores", scores)

    assert estimated(table.set_column(2, "label", pa.array(labels)), table, facts).metrics["accuracy"].value > 0.5


@pytest.mark.skipif("PERENNIAL_CENSUS" not in os.environ, reason="PERENNIAL_CENSUS names no folder with NannyML's data")
def test_nine_of_ten_months_of_the_census_lie_in_their_interval():
    """Employment in Massachusetts by year (folktables), with labels that NannyML delivers in its wheel."""
    folder = Path(os.environ["PERENNIAL_CENSUS"])
    reference, rows, labels = (
        pq.read_table(folder / f"employment_MA_{part}.pq") for part in ("reference", "analysis", "analysis_target")
    )
    if "employed" not in rows.column_names:
        rows = rows.append_column("employed", labels["employed"])
    known, later = (census(table) for table in (reference, rows))

    held = []
    for start in range(0, len(later) - 4999, 5000):
        chunk = later.slice(start, 5000)
        loss = estimated(known, chunk).loss
        held.append(loss.low <= wrong(chunk) <= loss.high)

    assert len(held) == 41 and np.mean(held) >= 0.85


def census(table: pa.Table) -> pa.Table:
    """Name NannyML's columns as a log does."""
    others = {"predicted_probability", "prediction", "employed", "timestamp", "id", "year"}
    yes_or_no = {
        name: pc.if_else(pc.equal(table[source], 1), "yes", "no")
        for name, source in (("decision", "prediction"), ("label", "employed"))
    }
    features = {f"received.{name}": table[name].cast(pa.float64()) for name in table.column_names if name not in others}
    times = pa.array([FIRST + timedelta(minutes=n) for n in range(len(table))], pa.timestamp("us", "UTC"))
    return pa.table({"event_time": times, "score": table["predicted_probability"]} | yes_or_no | features)
