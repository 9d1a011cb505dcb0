"""What acting on the candidate earns on the test rows, beside a perfect model and the champion."""

from typing import Any

import numpy as np

from components.shared.measures import value as decision_value
from components.shared.measures.metrics import Binary
from components.shared.measures.ranking import Floats
from components.shared.project import Value

_CURVE_POINTS = 101


def per_row(value: Value, card: Binary) -> Floats:
    """Return the money of each row's decision; its sum is the total, so that the bootstrap can weigh it."""
    won = value.success_rate * value.benefit - value.action_cost
    acted = np.where(card.truth, won, -(value.false_positive_cost + value.action_cost))
    return np.where(card.acted, acted, np.where(card.truth, -value.false_negative_cost, 0.0))


def report(value: Value, card: Binary, champion: Binary | None) -> dict[str, Any]:
    """Describe the value of the candidate's decisions at its own threshold, and at others."""
    outcome = decision_value.counts(card.score, card.truth, card.threshold)
    positives = outcome.true_positives + outcome.false_negatives
    negatives = outcome.false_positives + outcome.true_negatives
    total = decision_value.total(value, outcome)
    cuts = decision_value.curve(card.score, card.truth)
    totals = cuts.totals(value)
    kept = np.unique(np.linspace(0, len(totals) - 1, _CURVE_POINTS).round().astype(int))
    return {
        "currency": value.currency,
        "total": total,
        "per_1000": 1000 * total / len(card.truth),
        "ceiling": decision_value.ceiling(value, int(positives)),
        "true_positives": int(outcome.true_positives),
        "false_positives": int(outcome.false_positives),
        "false_negatives": int(outcome.false_negatives),
        "kept": decision_value.kept(value, outcome),
        "break_even_precision": decision_value.break_even_precision(value),
        "break_even_fpr": decision_value.break_even_fpr(value, outcome.true_positives, negatives),
        "curve": [{"threshold": float(cuts.thresholds[i]), "value": float(totals[i])} for i in kept],
        "champion_total": None
        if champion is None
        else decision_value.total(value, decision_value.counts(champion.score, champion.truth, champion.threshold)),
    }
