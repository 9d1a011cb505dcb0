"""What is logged, when an alarm is raised, and when a model is retrained."""

import math
from typing import Literal

from pydantic import Field, model_validator

from components.shared.project.section import ColumnName, Name, Section, Share
from components.shared.project.sinks import Sink

_SEASON_DAYS = 364


class AlertBudget(Section):
    """How many false alarms all tests of the model together may raise."""

    false_alarms: float = Field(1.0, gt=0, description="Average number of false alarms in that time.")
    days: float = Field(365.0, ge=2, description="The time, in days.")


class ServiceObjectives(Section):
    """What the endpoint promises over 30 days; alerts fire when the allowed failures are used up too fast."""

    availability: Share = Field(0.999, description="Share of the requests that do not fail through the server.")
    latency_ms: Literal[1, 2, 5, 10, 20, 50, 75, 100, 150, 200, 300, 500, 1000, 2000, 5000] = Field(
        100, description="Time within which a request is scored; an edge of the server's histogram."
    )
    latency: Share = Field(0.99, description="Share of the answered requests that take no longer.")
    quality: Share | None = Field(
        None, description="Share of the labeled rows that are answered rightly; not monitored by default."
    )


class Monitoring(Section):
    """What is logged of the requests, and when monitoring raises an alarm."""

    log: bool = Field(True, description="Whether the server logs every answered request.")
    log_sample: float = Field(1.0, gt=0, le=1, description="Share of the requests to log.")
    redact: tuple[ColumnName, ...] = Field((), description="Features that are never logged.")
    access_log: bool = Field(
        False, description="Whether the server writes a line per request, also of refused ones, without features."
    )
    retention_days: int = Field(180, ge=1, description="Days after which logged requests are deleted.")
    window_days: float = Field(7.0, gt=0, description="Length of the window that is compared with the reference.")
    reference: Literal["test rows", "previous window", "same season"] = Field(
        "test rows",
        description="What a window is compared with: the champion's test rows, the window before, or that of a year "
        "before; the test rows where the log has too few.",
    )
    loss_increase: float = Field(
        0.0, ge=0, lt=1, description="How much the share of wrong answers may rise before it counts as worse."
    )
    exploration: float = Field(
        0.0,
        ge=0,
        le=0.5,
        description="Share of the decisions that hide or change their label that is answered with the other class at "
        "random, so that performance stays known; 0.02 to 0.05 is enough to notice.",
    )
    rollback_days: float = Field(
        7.0, ge=0, description="Days after a release in which a risen loss rolls it back instead of retraining."
    )
    drift: Literal["open", "alibi"] = Field(
        "open", description="Library of the drift tests; alibi: Alibi Detect, under the Business Source License."
    )
    joint: Literal["classifier", "mmd", "autoencoder", "kmeans"] = Field(
        "classifier", description="Test of all inputs together; other ones than the classifier need alibi."
    )
    alerts: AlertBudget = Field(AlertBudget(), description="How many false alarms are acceptable.")
    slo: ServiceObjectives = Field(ServiceObjectives(), description="What the endpoint promises.")
    owner: str | None = Field(None, description="Who deals with incidents; named in every message.")
    notify: dict[Name, Sink] = Field(
        default_factory=dict, description="Where incidents are told, by name: file, webhook, email or alertmanager."
    )

    @model_validator(mode="after")
    def _available(self) -> "Monitoring":
        if self.drift == "open" and self.joint != "classifier":
            raise ValueError(f"'joint: {self.joint}' needs 'drift: alibi'; the open tests have the classifier")
        needed = _SEASON_DAYS + math.ceil(self.window_days)
        if self.reference == "same season" and self.retention_days < needed:
            raise ValueError(
                f"'reference: same season' needs a log that reaches back for {_SEASON_DAYS} days and a window; "
                f"'retention_days' is {self.retention_days}, expected {needed} or more"
            )
        return self


class Retraining(Section):
    """How a model is trained, when it is trained although no loss has risen, and when vain trainings are an incident.

    A loss that has risen always retrains.
    """

    method: Literal["scratch", "warm start", "incremental"] = Field(
        "scratch",
        description="How every run trains: from scratch, or by continuing the champion's trees and network where the "
        "project still asks the same question of the same features, on all rows (warm start) or on those that the "
        "champion has not learned from and a sample of the others (incremental).",
    )
    replay_share: float = Field(
        0.5,
        ge=0,
        lt=1,
        description="incremental: share of the training rows that is drawn from those that the champion has learned "
        "from, so that it does not forget them; fewer if there are not so many.",
    )
    every_days: float | None = Field(
        None, gt=0, description="Days for which a release has answered, after which the model is retrained."
    )
    new_labels: int | None = Field(
        None,
        ge=1,
        description="Labels that have become known since a release first answered, after which the model is retrained.",
    )
    cost: float = Field(
        0.0,
        ge=0,
        description="What a training costs (computing, review, risk), in the currency of 'value', or in wrong answers; "
        "perennial cadence compares it with what an aging model loses.",
    )
    attempts: int = Field(
        3, ge=1, description="Trainings in a row that the loop begins without a new release, before an incident opens."
    )

    @property
    def continues(self) -> bool:
        """Whether training begins with the champion's models."""
        return self.method != "scratch"
