"""Labels that the model's own decisions hide or change mislead; a few random other decisions correct that."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import roc_auc_score

from components.performance import estimation, losses, selection
from components.performance.selection import select
from components.shared.sequential.e_detector import EDetector
from tests import documents

FIRST = datetime(2026, 1, 1, tzinfo=UTC)


def made(
    rows: int, seed: int, share: float, *, hides: str = "no", changes: bool = False
) -> tuple[pa.Table, np.ndarray]:
    """Return rows as the log has them, and the label that each would have had anyway.

    Args:
        rows: Number of rows.
        seed: Where chance comes from.
        share: Of the selective decisions that is answered otherwise at random.
        hides: The selective decision.
        changes: Whether it changes its label to "no" in half of the rows instead of hiding it.
    """
    rng = np.random.default_rng(seed)
    x = rng.normal(size=rows)
    truth = np.where(rng.uniform(size=rows) < 1 / (1 + np.exp(-1.5 * x)), "yes", "no")
    score = 1 / (1 + np.exp(-1.5 * x))
    decision = np.where(score >= 0.5, "yes", "no")
    is_reversed = (decision == hides) & (rng.uniform(size=rows) < share)
    action = np.where(is_reversed, np.where(decision == "yes", "no", "yes"), decision)
    propensity = np.where(is_reversed, share, np.where(decision == hides, 1 - share, 1.0))
    if changes:
        label = np.where((action == hides) & (rng.uniform(size=rows) < 0.5), "no", truth)
        known = pa.array(label)
    else:
        known = pa.array(truth, mask=action == hides)
    table = pa.table(
        {
            "event_time": pa.array([FIRST + timedelta(minutes=n) for n in range(rows)], pa.timestamp("us", "UTC")),
            "score": score,
            "decision": decision,
            "action": action,
            "propensity": propensity,
            "label": known,
        }
    )
    return table, truth


def auc(truth: np.ndarray, score: np.ndarray, weights: np.ndarray | None = None) -> float:
    return float(roc_auc_score(truth == "yes", score, sample_weight=weights))


@pytest.mark.parametrize(("hides", "changes"), [("no", False), ("yes", False), ("yes", True)])
def test_weighted_by_probability_the_auc_is_the_true_one_where_the_plain_one_is_far_off(hides, changes):
    table, truth = made(200_000, 1, 0.05, hides=hides, changes=changes)
    score, label = table["score"].to_numpy(), np.array(table["label"].to_pylist())
    known = np.flatnonzero(table["label"].is_valid().to_numpy())

    chosen = select(table, [hides])

    true = auc(truth, score)
    assert abs(auc(label[known], score[known]) - true) > 0.05
    assert auc(label[chosen.rows], score[chosen.rows], chosen.weights) == pytest.approx(true, abs=0.01)
    assert chosen.smallest == 0.05 and chosen.weights.sum() == pytest.approx(200_000, rel=0.02)
    assert (label[chosen.rows] == truth[chosen.rows]).all()


def test_the_doubly_robust_rate_varies_less_and_is_right():
    reference, _ = made(20_000, 99, 0.0, hides="nothing")
    facts = documents.model_facts(threshold=0.5)
    plain, robust, true = [], [], []
    for seed in range(30):
        table, truth = made(3_000, seed, 0.05)
        chosen = select(table, ["no"])
        labeled = table.take(pa.array(chosen.rows))
        lost = losses.losses(labeled, None).losses
        expected = estimation.expected_losses(facts, reference, labeled)
        of_all = estimation.expected_losses(facts, reference, table).mean()
        plain.append((chosen.weights * lost).sum() / chosen.weights.sum())
        robust.append(selection.doubly_robust(lost, chosen.weights, expected, of_all))
        true.append(np.mean(np.array(table["decision"].to_pylist()) != truth))

    assert np.mean(robust) == pytest.approx(np.mean(true), abs=0.01)
    assert np.std(np.subtract(robust, true)) <= np.std(np.subtract(plain, true))


def test_expectations_that_are_wrong_do_not_bias_the_doubly_robust_rate():
    table, truth = made(100_000, 3, 0.1)
    chosen = select(table, ["no"])
    lost = losses.losses(table.take(pa.array(chosen.rows)), None).losses

    rate = selection.doubly_robust(lost, chosen.weights, np.full(len(lost), 0.9), 0.9)

    assert rate == pytest.approx(np.mean(np.array(table["decision"].to_pylist()) != truth), abs=0.01)


def test_without_a_selective_decision_every_labeled_row_counts_once():
    table, _ = made(100, 1, 0.0)
    chosen = select(table, [])

    assert len(chosen.rows) == 100 - table["label"].null_count
    assert (chosen.weights == 1).all() and (chosen.explored, chosen.smallest) == (0, 1.0)


def test_logs_without_exploration_have_no_row_that_shows_what_was_hidden():
    table, _ = made(1_000, 1, 0.0)
    bare = table.set_column(3, "action", pa.nulls(1_000, pa.string())).set_column(
        4, "propensity", pa.nulls(1_000, pa.float64())
    )

    assert select(bare, ["no"]).explored == 0
    assert set(bare.take(pa.array(select(bare, ["no"]).rows))["decision"].to_pylist()) == {"yes"}


def test_the_weighted_loss_test_keeps_quiet_and_finds_a_large_rise():
    reference = losses.losses(made(20_000, 99, 0.0, hides="nothing")[0], None)
    e_values, _ = losses.weighted_e_values(reference, 0.0, 0.05)

    def alarm(rise: float, seed: int) -> int | None:
        rng, detector = np.random.default_rng(seed), EDetector(e_values, 730)
        rate = reference.losses.mean() + rise
        for day in range(180):
            weights = np.where(rng.uniform(size=500) < 0.5, 1.0, 20.0 * (rng.uniform(size=500) < 0.05))
            lost = rng.uniform(size=500) < rate
            if detector.observe((weights * lost).sum() * 0.05, round(weights.sum())):
                return day
        return None

    assert [alarm(0.0, seed) for seed in range(10)] == [None] * 10
    found = [alarm(0.2, seed) for seed in range(10)]
    assert all(found) and np.median(found) < 60
