"""What counts as a loss, and the e-values that test whether the losses of a day have risen."""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy import stats

from components.shared.sequential import reference as reference_rates
from components.shared.sequential.e_detector import BetaBinomialRise, BoundedMeanRise

_QUANTILE = 0.9
_LEAST_VARIANCE = 1e-6
_BOUND = 0.9
"""Confidence of the upper bound of the reference's loss, where its days are too few to bound their spread."""
_BOUND_OF_DAYS = 0.8
"""Confidence of the bounds of mean and spread, where there are enough days."""


class Losses(NamedTuple):
    """Days (text) and losses (0 to 1) of labeled rows."""

    days: NDArray[np.str_]
    losses: NDArray[np.float64]

    def by_day(self) -> tuple[list[str], list[float], list[int]]:
        """Return the days in order, with the number of losses and of rows."""
        days, codes, rows = np.unique(self.days, return_inverse=True, return_counts=True)
        return days.tolist(), np.bincount(codes, self.losses).tolist(), rows.tolist()

    def variance_within_days(self) -> float:
        """Return the variance of losses about the mean of their day, a little above 0 where all are equal."""
        _, codes, rows = np.unique(self.days, return_inverse=True, return_counts=True)
        deviations = self.losses - (np.bincount(codes, self.losses) / rows)[codes]
        variance = float(deviations @ deviations) / max(len(codes) - len(rows), 1)
        return max(variance, _LEAST_VARIANCE)

    def taken(self, rows: NDArray[np.intp]) -> "Losses":
        """Return those of some of the rows."""
        return Losses(self.days[rows], self.losses[rows])


def losses(table: pa.Table, limit: float | None) -> Losses:
    """Return the losses of labeled rows: wrong decisions, or errors above a limit.

    Args:
        table: Columns event_time, label, and decision or score.
        limit: Of a regression's error; None for classes.
    """
    if limit is not None:
        return Losses(days(table), (_errors(table) > limit).astype(float))
    wrong = pc.not_equal(table["decision"], table["label"])
    return Losses(days(table), wrong.to_numpy(zero_copy_only=False).astype(float))


def days(table: pa.Table) -> NDArray[np.str_]:
    """Return the day of each row (text, UTC)."""
    return np.array(pc.strftime(table["event_time"], "%Y-%m-%d").to_pylist(), dtype=np.str_)


def error_limit(reference: pa.Table) -> float:
    """Return the error that nine of ten rows of the reference do not exceed."""
    return float(np.quantile(_errors(reference), _QUANTILE))


def _errors(table: pa.Table) -> NDArray[np.float64]:
    label = table["label"].cast(pa.float64()).to_numpy(zero_copy_only=False)
    score = table["score"].cast(pa.float64()).to_numpy(zero_copy_only=False)
    errors: NDArray[np.float64] = np.abs(score - label)
    return errors


def e_values(
    before: Losses, increase: float, tests: int = 1, *, are_events: bool = True
) -> tuple[BetaBinomialRise | BoundedMeanRise, str]:
    """Return the e-values of a day's losses, and what they promise.

    Args:
        before: The losses of the reference, at least one.
        increase: How much the loss may rise before it counts as worse.
        tests: Number of parts of the rows that are tested like this one; with more, each bound is safer.
        are_events: Whether each loss is 0 or 1; others vary less within a day.
    """
    _, lost, rows = before.by_day()
    if len(rows) >= reference_rates.FEWEST_DAYS:
        variance = None if are_events else before.variance_within_days()
        rates = reference_rates.estimate(lost, rows, 1 - (1 - _BOUND_OF_DAYS) / tests, unit_variance=variance)
        rise = rates.rise(increase)
        return rise, (
            f"holds while days differ by a standard deviation of at most {rise.spread:.3f}, the upper bound from "
            f"{rates.days} days of test rows"
        )
    return BoundedMeanRise(min(_upper(before, 1 - (1 - _BOUND) / tests) + increase, 0.99)), (
        f"holds while the expected loss of a day is at most what is tolerated; {len(rows)} days of test rows are too "
        "few to know how much days differ"
    )


def weighted_e_values(before: Losses, increase: float, smallest: float) -> tuple[BoundedMeanRise, str]:
    """Return the e-values of losses that stand for many rows, as shares of the largest weight.

    Args:
        before: The losses of the reference.
        increase: How much the loss may rise before it counts as worse.
        smallest: Smallest probability with which a row shows its label, above 0 and at most 1.
    """
    tolerated = min(_upper(before, _BOUND) + increase, 0.99) * smallest
    return BoundedMeanRise(tolerated), (
        "holds while the expected loss of a day is at most what is tolerated; rows that show their label by chance "
        f"stand for up to {1 / smallest:.0f} rows, so a rise takes long to prove"
    )


def _upper(before: Losses, confidence: float) -> float:
    """Return the upper bound of the reference's loss (Clopper and Pearson, 1934)."""
    total, wrong = len(before.losses), float(before.losses.sum())
    return float(stats.beta.ppf(confidence, wrong + 1, max(total - wrong, 1)))
