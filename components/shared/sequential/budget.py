"""Share one budget of false alarms among all tests of a model.

While nothing changes, a detector with an average run length of r days raises at most 1 / r false alarms a day, in the
long run, however it depends on the others; so the rates of several detectors add up. Each gets a part of the budget
by its declared weight.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class AlertBudget:
    """At most ``false_alarms`` in ``days`` days for one model, all tests together."""

    false_alarms: float = 1.0
    days: float = 365.0

    def __post_init__(self) -> None:
        if self.false_alarms <= 0 or self.days <= self.false_alarms:
            raise ValueError(f"{self.false_alarms} false alarms in {self.days} days is no budget below one a day")

    def run_lengths(self, weights: Mapping[str, float]) -> dict[str, float]:
        """Return the run length in days that each test has to promise.

        Args:
            weights: Weight of each test, 0 or more; only their ratios count. A weight of 0 turns a test off.

        Raises:
            ValueError: If a weight is negative, or all are 0.

        >>> AlertBudget(1, 365).run_lengths({"loss": 1, "segment a": 0.5, "segment b": 0.5})
        {'loss': 730.0, 'segment a': 1460.0, 'segment b': 1460.0}
        """
        total = sum(weights.values())
        if total <= 0 or min(weights.values()) < 0:
            raise ValueError(f"weights {dict(weights)} must be 0 or more, and at least one above 0")
        return {
            name: self.days * total / (self.false_alarms * weight) for name, weight in weights.items() if weight > 0
        }
