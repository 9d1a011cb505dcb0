"""The whole project file."""

from typing import Any, Literal

from pydantic import Field, model_validator

from components.shared.project.features import Features, Split
from components.shared.project.judging import Evaluation, Gate, Validation, Value
from components.shared.project.learning import Training, Tuning
from components.shared.project.monitoring import Monitoring, Retraining
from components.shared.project.release import ReleaseSettings
from components.shared.project.running import Resources, ServingSettings, SizeLimits
from components.shared.project.section import ColumnName, Name, ResourceName, Section
from components.shared.project.tables import Label, Source

# What a model server does for monitoring; the other settings of the section are read by whoever watches it.
_MONITORING_OF_THE_SERVER = {"log", "log_sample", "redact", "access_log", "exploration"}


class Project(Section):
    """The complete description of a use case."""

    name: ResourceName = Field(description="Name of the model, its endpoint and its Kubernetes resources.")
    task: Literal["binary", "multiclass", "regression"] = Field(description="Type of the prediction.")
    entity: ColumnName = Field(description="Column that identifies what an example is about.")
    event_time: ColumnName = Field(
        description="Column with the time of the prediction; features that became known later are not used."
    )
    sources: dict[Name, Source] = Field(min_length=1, description="Source tables, by name.")
    label: Label = Field(description="The value to predict.")
    features: Features = Field(description="The model's inputs.")
    split: Split = Field(Split(), description="How rows are split for training, validation and testing.")
    tuning: Tuning = Field(Tuning(), description="The hyperparameter search.")
    training: Training = Field(Training(), description="Model families, fixed hyperparameters and early stopping.")
    value: Value | None = Field(
        None, description="What a decision is worth; without it, a false and a missed alarm cost the same."
    )
    evaluation: Evaluation = Field(Evaluation(), description="How a model is evaluated.")
    gate: Gate = Field(Gate(), description="Rules that a candidate must pass.")
    validation: Validation = Field(Validation(), description="How a run reacts to anomalies in the data.")
    release: ReleaseSettings = Field(ReleaseSettings(), description="How a promoted model is released.")
    monitoring: Monitoring = Field(Monitoring(), description="What is logged, and when an alarm is raised.")
    retraining: Retraining = Field(Retraining(), description="How a model is trained, and when without an alarm.")
    serving: ServingSettings = Field(ServingSettings(), description="How the model server runs.")
    resources: Resources = Field(Resources(), description="Resources of the pipeline's steps.")
    limits: SizeLimits = Field(SizeLimits(), description="Sizes above which a table or a request is rejected.")

    @model_validator(mode="after")
    def _log_reaches_back(self) -> "Project":
        every_days, kept_days = self.retraining.every_days, self.monitoring.retention_days
        if every_days is not None and every_days >= kept_days:
            raise ValueError(
                f"'retraining: every_days' is {every_days:g}, but the log, from which the age of a release is read, "
                f"reaches back for 'monitoring: retention_days' {kept_days}; lower the one or raise the other"
            )
        return self

    @model_validator(mode="after")
    def _labels_can_decide(self) -> "Project":
        release, delay_s = self.release, self.label.delay_days * 86400
        by_labels = release.labels != "none" or (release.strategy == "ab" and release.ab_metric == "labels")
        by_log = by_labels or release.strategy == "ab"
        if by_log and not self.monitoring.log:
            raise ValueError(
                "the release waits for labels or outcomes of logged requests, but 'monitoring: log' is false"
            )
        if by_labels and release.strategy == "ab" and self.task != "regression" and (release.smallest_effect or 0) >= 1:
            raise ValueError(
                f"'smallest_effect' is {release.smallest_effect:g}, but a share of right decisions differs by less "
                "than 1; write 2 points as 0.02"
            )
        if by_labels and release.deadline_s <= delay_s:
            raise ValueError(
                f"the release waits for labels, which come {self.label.delay_days} days after a request, but its "
                f"'deadline_s' {release.deadline_s:g} ends before the first of them ({delay_s} s); raise it"
            )
        needed_s = (delay_s if by_labels else 0) + 2 * release.look_every_s
        if release.strategy == "ab" and release.deadline_s < needed_s:
            raise ValueError(
                f"the A/B test ends after 'deadline_s' {release.deadline_s:g}, before a second look at its outcomes: "
                f"with 'look_every_s' {release.look_every_s:g} it needs at least {needed_s:g}; raise it"
            )
        return self

    @model_validator(mode="after")
    def _directions_can_be_kept(self) -> "Project":
        if not self.features.monotone:
            return self
        if self.task == "multiclass":
            raise ValueError(
                f"'monotone' of {sorted(self.features.monotone)} needs one score per row, and several classes have "
                "several; remove it"
            )
        if "trees" not in self.training.families:
            raise ValueError(
                f"only trees keep to 'monotone' of {sorted(self.features.monotone)}, and 'training: families' is "
                f"{list(self.training.families)}; add trees"
            )
        return self

    @model_validator(mode="after")
    def _something_can_be_continued(self) -> "Project":
        if self.retraining.continues and set(self.training.families) == {"plain"}:
            raise ValueError(
                f"'retraining: method' is '{self.retraining.method}', but a plain model cannot be continued, and "
                "'training: families' names no other; add trees or network, or train from scratch"
            )
        return self

    def lookups(self, feature_server: str) -> list[str]:
        """Return the arguments with which a model server looks features up at an address; none where that is off."""
        serving = self.serving
        if not serving.online_features:
            return []
        sent = [f"--request-feature={name}" for name in serving.request_features]
        return [f"--feature-server={feature_server}", f"--lookup-timeout-s={serving.lookup_timeout_s:g}", *sent]

    @property
    def of_the_model(self) -> dict[str, Any]:
        """Return the settings that a model or its server depends on, without those that equal their default.

        How a model is watched, when it is retrained and what a step may use is not among them.
        """
        watched = set(Monitoring.model_fields) - _MONITORING_OF_THE_SERVER
        excluded: dict[str, Any] = {"retraining": True, "resources": True, "monitoring": watched}
        settings = self.model_dump(mode="json", exclude=excluded, exclude_defaults=True)
        return {name: value for name, value in settings.items() if value != {}}

    @property
    def explored(self) -> dict[str, float]:
        """Return the decisions that are explored, and the share of each that is reversed."""
        share = self.monitoring.exploration
        return dict.fromkeys(self.label.selective, share) if share and self.task == "binary" else {}
