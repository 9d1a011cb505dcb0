"""Test, look after look, whether one of two models is better on the same rows.

Each labeled row is a win (only the candidate is right), a loss (only the champion is), or a tie, so X = 1, -1 or 0.
Against "the mean of X is at most -margin at every time", the wealth of a gambler who bets the share s of it on X +
margin for each row, (1 + s (X + margin)) multiplied over the rows, is a martingale with a mean of at most 1, for every
s with which it cannot become negative; so is the mean over several s. By Ville's inequality it ever reaches 1 / a with
a probability of at most a. See Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting",
Journal of the Royal Statistical Society B, 2024.

Rows of one person that always have the same answer are one observation that counts as many; the test takes rows for
independent, given those before.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log

from components.shared.sequential.two_samples import log_mean

_SHARES = (0.01, 0.03, 0.1, 0.25, 0.45)


@dataclass(frozen=True)
class PairedGain:
    """The candidate is right more often than the champion, or less often by no more than a margin.

    Attributes:
        margin: By how much less often it may be right, below 1; with 0 it must be better, below 0 better by so much.
        shares: Of the wealth that is bet, each above 0 and below 1 / (1 - margin), so that a loss never takes it all.
    """

    margin: float = 0.0
    shares: Sequence[float] = _SHARES

    def __post_init__(self) -> None:
        """Refuse a margin or a share with which the wealth could become negative."""
        bound = 1 / (1 - self.margin) if self.margin < 1 else 0.0
        if not -1 < self.margin < 1 or not self.shares or not all(0 < share < bound for share in self.shares):
            raise ValueError(
                f"margin {self.margin} must be in (-1, 1), and each of {self.shares} below 1 / (1 - margin)"
            )

    def log_value(self, wins: int, ties: int, losses: int) -> float:
        """Return the logarithm of the e-value after so many rows; 0 before any.

        Raises:
            ValueError: If a count is negative.
        """
        if min(wins, ties, losses) < 0:
            raise ValueError(f"{wins} wins, {ties} ties and {losses} losses are no counts")
        return log_mean(
            [
                wins * log(1 + share * (1 + self.margin))
                + ties * log(1 + share * self.margin)
                + losses * log(1 - share * (1 - self.margin))
                for share in self.shares
            ]
        )
