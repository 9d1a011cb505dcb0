"""What acting on the candidate gains on the test rows over acting on nobody; the same of a perfect model."""

import numpy as np
from numpy.typing import NDArray

from components.shared.documents.measurements import ValuePoint, ValueReport
from components.shared.measures import value as decision_value
from components.shared.measures.metrics import Binary
from components.shared.measures.ranking import Floats
from components.shared.project import Value

_CURVE_POINTS = 101


def per_row(value: Value, scorecard: Binary) -> Floats:
    """Return each row's gain over leaving it alone; their sum is the total, so that the bootstrap can weigh it."""
    won, lost = decision_value.stakes(value)
    return np.where(scorecard.acted, np.where(scorecard.truth, won, -lost), 0.0)


def perfect_gain(value: Value, truth: NDArray[np.bool_]) -> float:
    """Return what perfect decisions earn per row over acting on nobody; 0 if acting never pays."""
    won, _ = decision_value.stakes(value)
    return max(won, 0.0) * float(truth.mean())


def report(value: Value, candidate: Binary, champion: Binary | None) -> ValueReport:
    """Describe the value of the candidate's decisions at its own threshold, and at others."""
    outcome = _outcome(candidate)
    positives = outcome.true_positives + outcome.false_negatives
    negatives = outcome.false_positives + outcome.true_negatives
    total = decision_value.gain(value, outcome)
    cuts = decision_value.curve(candidate.score, candidate.truth)
    gains = cuts.gains(value)
    drawn = np.unique(np.linspace(0, len(gains) - 1, _CURVE_POINTS).round().astype(int))
    return ValueReport(
        currency=value.currency,
        total=total,
        absolute=decision_value.total(value, outcome),
        nobody=decision_value.total(value, decision_value.nobody(outcome)),
        per_1000=1000 * total / len(candidate.truth),
        ceiling=decision_value.ceiling(value, int(positives)),
        true_positives=int(outcome.true_positives),
        false_positives=int(outcome.false_positives),
        false_negatives=int(outcome.false_negatives),
        kept=decision_value.kept(value, outcome),
        break_even_precision=decision_value.break_even_precision(value),
        break_even_fpr=decision_value.break_even_fpr(value, outcome.true_positives, negatives),
        curve=tuple(ValuePoint(threshold=float(cuts.thresholds[i]), value=float(gains[i])) for i in drawn),
        champion_total=None if champion is None else decision_value.gain(value, _outcome(champion)),
    )


def _outcome(scorecard: Binary) -> decision_value.Counts:
    return decision_value.counts(scorecard.score, scorecard.truth, scorecard.threshold)
