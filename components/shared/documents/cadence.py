"""``cadence.json``: what schedules and triggers of retraining would have cost on the project's history."""

from typing import Literal

from components.shared.documents.document import Document, OptionalFloat, Part


class PolicyCost(Part):
    """One policy on the whole history; amounts are per 30 days, in the document's unit.

    Args:
        name: What the policy does, as a sentence's end: "every 28 days".
        kind: When it trains: never, every so many days, on an alarm of monitoring, or with hindsight.
        every_days: Of a schedule.
        trainings: How often it trained.
        loss: What the decisions lost; of decisions that are worth something, less than 0.
        cost: The loss, and the trainings.
        saved: What the policy costs less than never retraining.
        saved_low: Lower end of the 95 % interval of that.
        saved_high: Its upper end.
    """

    name: str
    kind: Literal["never", "schedule", "alarm", "hindsight"]
    every_days: float | None = None
    trainings: int
    loss: float
    cost: float
    saved: float
    saved_low: OptionalFloat = None
    saved_high: OptionalFloat = None


class Cadence(Document):
    """The policies, and which of them cost least.

    Args:
        unit: Of all amounts: a currency, or what is counted where the project states no value.
        training_cost: What a training costs, in that unit.
        start: When the first model would have answered, ISO 8601, UTC.
        end: The newest labeled row.
        block_days: Length of the blocks in which the history is measured.
        rows: Rows of all blocks.
        policies: Those that can be followed, the first being never.
        hindsight: The trainings that would have cost least, known only afterwards: no policy can do better.
        recommended: Name of the policy to follow: a schedule only if it saved something beyond chance.
        decay: By age of a model in blocks: what it lost more, per 1,000 rows, than one that was trained just before.
    """

    FILE = "cadence.json"
    IS_ARTIFACT = True

    unit: str
    training_cost: float
    start: str
    end: str
    block_days: float
    rows: int
    policies: tuple[PolicyCost, ...]
    hindsight: PolicyCost
    recommended: str
    decay: tuple[OptionalFloat, ...]

    @property
    def chosen(self) -> PolicyCost:
        """The recommended policy."""
        return next(policy for policy in self.policies if policy.name == self.recommended)
