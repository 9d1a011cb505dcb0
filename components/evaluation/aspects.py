"""What models are compared in besides their main metric: probabilities, and decisions at the served threshold."""

from collections.abc import Callable

from components.shared.measures import value_report
from components.shared.measures.metrics import Binary, Multiclass, Scorecard
from components.shared.measures.ranking import Floats
from components.shared.project import Value

VALUE_SHARE = "value_share"
"""The money of the decisions, as a share of what perfect decisions earn over acting on nobody."""

Statistic = Callable[[Floats], Floats]
"""From weights (resamples, rows) to a metric's values (resamples,)."""


def probabilities(scorecard: Scorecard) -> tuple[str, Statistic]:
    """Name and measure the log loss, or for a regression the 90 % quantile of its error."""
    if isinstance(scorecard, Binary | Multiclass):
        return "log_loss", _mean(scorecard.surprise)
    return "scaled_error_p90", lambda weights: scorecard.measure(weights)["scaled_error_p90"]


def decisions(scorecard: Scorecard, value: Value | None) -> tuple[str, Statistic] | None:
    """Name and measure the share of a perfect model's value where a value is declared, else the accuracy.

    The accuracy weighs false and missed alarms equally, as the threshold does without a declared value. None for a
    regression, which decides nothing.
    """
    if isinstance(scorecard, Binary) and value is not None:
        perfect = value_report.perfect_gain(value, scorecard.truth)
        if perfect > 0:
            return VALUE_SHARE, _mean(value_report.per_row(value, scorecard) / perfect)
    if isinstance(scorecard, Binary | Multiclass):
        return "accuracy", _mean(scorecard.hits.astype(float))
    return None


def _mean(per_row: Floats) -> Statistic:
    def statistic(weights: Floats) -> Floats:
        means: Floats = weights @ per_row / weights.sum(axis=1)
        return means

    return statistic
