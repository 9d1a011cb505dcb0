"""Divide the budget of false alarms among the tests of a release: nothing is spent on what is not tested.

The loss has half of the budget, and the other tests share the other half by their weights; alone, it has all of it.
"""

from collections.abc import Collection

from components.shared.project import AlertBudget
from components.shared.sequential import budget

LOSS, ESTIMATE, SEGMENTS, POSITIVES = "loss", "estimated loss", "segments", "positive answers"
VALUE, FAIRNESS, LATENCY = "value", "fairness", "latency"
_WEIGHTS = {ESTIMATE: 2.0, SEGMENTS: 1.0, POSITIVES: 1.0, VALUE: 1.0, FAIRNESS: 1.0, LATENCY: 1.0}


def run_lengths(alerts: AlertBudget, tested: Collection[str]) -> dict[str, float]:
    """Return the average number of days between false alarms that each kind of test promises.

    Args:
        alerts: The budget of the model.
        tested: What is tested besides the loss.

    >>> run_lengths(AlertBudget(false_alarms=1, days=365), {ESTIMATE})
    {'loss': 730.0, 'estimated loss': 730.0}
    """
    others = {name: weight for name, weight in _WEIGHTS.items() if name in tested}
    whole = budget.AlertBudget(alerts.false_alarms, alerts.days)
    return whole.run_lengths({LOSS: sum(others.values()) or 1.0} | others)
