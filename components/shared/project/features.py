"""The model's inputs, and how rows are split."""

from typing import Literal

from pydantic import AwareDatetime, Field, model_validator

from components.shared.project.section import ColumnName, Name, Section, Share


class FeatureSpec(Section):
    """One input of the model and the values that a request may hold for it."""

    type: Literal["numeric", "categorical", "boolean"] = Field(description="Type of the feature's values.")
    missing: bool = Field(True, description="Whether a request may omit the value (null).")
    monotone: Literal["increasing", "decreasing"] | None = Field(
        None,
        description="Direction in which the score must follow a number, all else being equal; only trees keep to it.",
    )

    @model_validator(mode="after")
    def _only_numbers_have_a_direction(self) -> "FeatureSpec":
        if self.monotone is not None and self.type != "numeric":
            raise ValueError(f"'monotone' is for numeric features, and this one is {self.type}; remove it")
        return self


class Features(Section):
    """The model's inputs, delivered by a Feast feature service."""

    service: Name = Field(description="Name of the Feast feature service in feature_repo/features.py.")
    columns: dict[ColumnName, FeatureSpec] = Field(
        min_length=1, description="Features that the model uses, by name; the service may deliver more."
    )

    @property
    def monotone(self) -> dict[str, int]:
        """Return the direction of each feature that has one: 1 is increasing, -1 decreasing."""
        signs = {"increasing": 1, "decreasing": -1}
        return {name: signs[spec.monotone] for name, spec in self.columns.items() if spec.monotone is not None}


class Split(Section):
    """How the labelled rows are split into training, validation and test rows."""

    method: Literal["time", "hash", "random"] = Field(
        "time", description="time: the newest rows are the test rows; hash: by entity; random: stratified by class."
    )
    validation: Share = Field(0.15, description="Share of the rows that choose hyperparameters and the threshold.")
    test: Share = Field(0.2, description="Share of the rows that measure the model.")
    gap_days: int | None = Field(
        None, ge=0, description="Days to leave out before each cut (method time); default: label.delay_days."
    )
    newest_days: float | None = Field(
        None,
        gt=0,
        description="Use only the rows of the newest days, for a world that changes; default: all. The cuts are made "
        "among them.",
    )
    since: AwareDatetime | None = Field(
        None,
        description="Use only the rows from this time on, where there are at least 'since_rows' of them; default: all. "
        "They are split by entity as long as the gaps of a split by time would take too much of them.",
    )
    since_rows: int = Field(1000, ge=1, description="Fewest rows for which 'since' counts.")
