"""How a promoted model is released."""

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, model_validator

from components.shared.project.section import Section

_PUBLIC_KEY = r"^-----BEGIN PUBLIC KEY-----\n[A-Za-z0-9+/=\n]+-----END PUBLIC KEY-----\n?$"


class ReleaseSettings(Section):
    """How a promoted model is released."""

    strategy: Literal["basic", "shadow", "canary", "ab"] = Field(
        "basic",
        description="basic: switch all traffic at once; shadow: score copies of the requests first; canary: answer a "
        "growing share of them; ab: answer a share of the entities until outcomes show which version is better.",
    )
    tolerance: float = Field(
        1e-5, gt=0, description="Largest difference between the server's answers and those recorded in training."
    )
    shares: tuple[Annotated[int, Field(ge=1, le=99)], ...] = Field(
        (5, 25, 50), description="canary: percentage of the requests in each step, before all of them.", min_length=1
    )
    soak_s: float = Field(600.0, ge=0, description="Seconds that each step lasts at least.")
    min_requests: int = Field(500, ge=1, description="Requests that the candidate must get in each step.")
    deadline_s: float = Field(
        86400.0, gt=0, description="Seconds after which a step with too few requests is inconclusive."
    )
    inconclusive: Literal["abort", "hold"] = Field(
        "abort", description="abort: take an inconclusive candidate back; hold: wait for somebody to decide."
    )
    false_rollbacks: float = Field(
        0.01, gt=0, lt=1, description="Probability of taking back a candidate that does no harm."
    )
    slow_odds: float = Field(
        4.0, ge=1, description="How many times as high as the champion's the odds of a slow request may be."
    )
    score_odds: float = Field(
        3.0, ge=1, description="How many times as high or low as the champion's the odds of a range of scores may be."
    )
    labels: Literal["none", "better", "not worse"] = Field(
        "none",
        description="shadow: what labels must show before the candidate takes over: that it is right more often than "
        "the champion, or less often by at most 'labels_margin'.",
    )
    labels_margin: float = Field(
        0.01, ge=0, lt=1, description="By how much less often a candidate may be right that is 'not worse'."
    )
    labels_error: float = Field(
        0.05,
        gt=0,
        lt=1,
        description="Probability of promoting a candidate that does not meet 'labels'; ab: of finding a difference, in "
        "either direction, where there is none.",
    )
    ab_share: int = Field(50, ge=1, le=99, description="ab: percentage of the entities that the candidate answers.")
    ab_metric: Literal["labels", "outcomes"] = Field(
        "labels",
        description="ab: labels: the share of right decisions (of a regression, the absolute error); outcomes: the "
        "mean of the figures of 'perennial outcomes add'.",
    )
    smallest_effect: float | None = Field(
        None, gt=0, description="ab: the difference of the means that would be worth a release, in the metric's unit."
    )
    power: float = Field(0.8, gt=0, lt=1, description="ab: probability of finding a difference of that size.")
    look_every_s: float = Field(86400.0, gt=0, description="ab: seconds between two looks at the outcomes.")
    approvers: tuple[str, ...] = Field(
        (), description="Accounts one of which must approve a candidate before it takes over; none is needed if empty."
    )
    signed_by: tuple[Annotated[str, Field(pattern=_PUBLIC_KEY)], ...] = Field(
        (),
        description="Public keys in PEM: a version is signed when it is registered, and served only if one of these "
        "keys has signed it; versions are not signed if empty.",
    )

    @model_validator(mode="after")
    def _in_order(self) -> "ReleaseSettings":
        if any(later <= earlier for earlier, later in pairwise(self.shares)):
            raise ValueError(f"'shares' {list(self.shares)} do not grow; each step needs a larger share")
        if self.strategy == "ab" and self.smallest_effect is None:
            raise ValueError(
                "the strategy 'ab' needs 'smallest_effect': the difference of the means that would be worth a release"
            )
        if self.labels != "none" and self.strategy != "shadow":
            raise ValueError(
                f"'labels' is {self.labels!r}, but only the strategy 'shadow' answers the same requests with both "
                f"versions; 'strategy' is {self.strategy!r}"
            )
        if self.deadline_s < self.soak_s:
            raise ValueError(f"'deadline_s' {self.deadline_s:g} is before the end of 'soak_s' {self.soak_s:g}")
        return self
