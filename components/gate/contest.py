"""The candidate against one other model in one aspect, by a paired interval and a margin."""

from dataclasses import dataclass

from components.shared.documents.measurements import Comparison


@dataclass(frozen=True)
class Contest:
    """One aspect in which two models are compared; more advantage is always better.

    Attributes:
        aspect: Empty for the main metric.
        comparison: Candidate minus the other model; None in it where undefined, which proves nothing and never holds.
        higher_is_better: The direction of the metric.
        confidence: That of the interval, in (0, 1).
        margin: How much worse the candidate may be, in the metric's unit; None if the aspect is not judged.
        setting: Name of the margin in the project file.
    """

    aspect: str
    comparison: Comparison
    higher_is_better: bool
    confidence: float
    margin: float | None
    setting: str

    @property
    def advantage(self) -> float | None:
        """The point estimate."""
        return self._signed(self.comparison.difference)

    @property
    def least_advantage(self) -> float | None:
        """The pessimistic bound."""
        return self._signed(self.comparison.low if self.higher_is_better else self.comparison.high)

    @property
    def most_advantage(self) -> float | None:
        """The optimistic bound."""
        return self._signed(self.comparison.high if self.higher_is_better else self.comparison.low)

    @property
    def is_non_inferior(self) -> bool:
        """Whether the pessimistic bound is within the margin."""
        return self._is_within_margin(self.least_advantage)

    @property
    def is_proven_better(self) -> bool:
        """Whether the whole interval is on the right side of 0."""
        return self.least_advantage is not None and self.least_advantage > 0

    @property
    def is_proven_worse(self) -> bool:
        """Whether the whole interval is on the wrong side of 0."""
        return self.most_advantage is not None and self.most_advantage < 0

    @property
    def is_undecided(self) -> bool:
        """Whether the pessimistic bound is beyond the margin, while the estimate is within it and no loss is proven."""
        is_harmless = self.most_advantage is not None and self.most_advantage >= 0
        return is_harmless and self._is_within_margin(self.advantage) and not self.is_non_inferior

    @property
    def bound_name(self) -> str:
        """The name of the pessimistic bound."""
        return "lower" if self.higher_is_better else "upper"

    def against(self, other: str) -> str:
        """Describe the difference with its interval."""
        compared = self.comparison
        if compared.difference is None or compared.low is None or compared.high is None:
            return f"{compared.metric} has no interval on these test rows to compare with {other}"
        direction = "" if self.higher_is_better else " (lower is better)"
        return (
            f"{compared.metric}{direction} differs by {compared.difference:+.4f} "
            f"({100 * self.confidence:g} % interval {compared.low:+.4f} to {compared.high:+.4f}) from {other}"
        )

    def _is_within_margin(self, advantage: float | None) -> bool:
        return advantage is not None and self.margin is not None and advantage >= -self.margin

    def _signed(self, value: float | None) -> float | None:
        return value if value is None or self.higher_is_better else -value
