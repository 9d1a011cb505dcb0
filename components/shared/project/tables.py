"""The tables of a use case: the sources, and the label in one of them."""

import codecs
from typing import Literal

from pydantic import AwareDatetime, Field, model_validator

from components.shared.project.section import ColumnName, Name, Section, Text


class Source(Section):
    """One source table: a CSV or parquet file, or the result of a database query."""

    path: str | None = Field(
        None, description="CSV file, parquet file or folder of parquet files, relative to the project file."
    )
    database: str | None = Field(None, description="SQLAlchemy URL without credentials, or duckdb:///file.duckdb.")
    query: str | None = Field(None, description="SQL query whose result is the table.")
    credentials_env: str | None = Field(
        None,
        pattern=r"^[A-Z][A-Z0-9_]*$",
        description="Name of the environment variable that holds 'user:password' for the database.",
    )
    time: ColumnName | None = Field(None, description="Column that holds the time of each row (UTC).")
    constant_time: AwareDatetime | None = Field(
        None, description="For a table without a time: ingestion adds the column 'time' with this value in every row."
    )
    time_step_s: int | None = Field(
        None,
        ge=1,
        description="For rows in the order of time but without one: seconds from row to row, the first being at "
        "'constant_time'.",
    )
    row_number: ColumnName | None = Field(
        None,
        description="For a table without an entity: ingestion adds a column of this name with the row number, from 1.",
    )
    encoding: str | None = Field(
        None,
        description="Encoding of a CSV file, such as windows-1252; default: UTF-8, or UTF-16 if the file shows it.",
    )
    null_values: tuple[Text, ...] = Field((), description="Texts that mean 'missing', in addition to blank ones.")
    convert: dict[ColumnName, str] = Field(
        {},
        description="Column to the SQL (DuckDB) that computes its value from the columns as they are read, such as "
        "try_strptime(sold_on, '%d.%m.%Y').",
    )
    rows_min: int = Field(1, ge=0, description="Smallest plausible number of rows; validation reports fewer.")
    rows_max: int | None = Field(None, ge=1, description="Largest plausible number of rows; validation reports more.")

    @model_validator(mode="after")
    def _one_kind(self) -> "Source":
        if (self.path is None) == (self.database is None):
            raise ValueError("a source needs exactly one of 'path' and 'database'")
        if (self.database is None) != (self.query is None):
            raise ValueError("'database' and 'query' must be set together")
        try:
            codecs.lookup(self.encoding or "utf-8")
        except LookupError:
            raise ValueError(f"'encoding' {self.encoding!r} is not the name of an encoding") from None
        if self.constant_time is not None and self.time is None:
            raise ValueError("'constant_time' requires 'time', the name of the column to add")
        if self.time_step_s is not None and self.constant_time is None:
            raise ValueError("'time_step_s' requires 'constant_time', the time of the first row")
        if self.time_step_s is not None and self.database is not None:
            raise ValueError("'time_step_s' needs rows in an order, which those of a query don't have; select the time")
        return self

    @property
    def has_one_time(self) -> bool:
        """Whether all rows have the same time, so that there is nothing to compare over time."""
        return self.constant_time is not None and self.time_step_s is None


class Label(Section):
    """The value to predict, and when it becomes known."""

    source: Name = Field(
        description="Source whose rows are the examples; it has the entity, the event time and the label."
    )
    column: ColumnName = Field(description="Column of the source that holds the label.")
    positive: Text | int | float | bool | None = Field(
        None, description="Label value that calls for action (binary only); default: the last value in sorted order."
    )
    delay_days: int = Field(
        0, ge=0, description="Days after the event time until the label is known; younger rows are left out."
    )
    missing: Literal["refuse", "drop"] = Field(
        "refuse",
        description="What to do when a label is still missing after the delay: refuse the table or drop the row.",
    )
    hidden_after: tuple[Text | int | float | bool, ...] = Field(
        (), description="Decisions after which the label never becomes known, such as a loan that is refused."
    )
    changed_after: tuple[Text | int | float | bool, ...] = Field(
        (), description="Decisions whose action changes the label, such as a call after which a customer stays."
    )
    decision_column: ColumnName | None = Field(
        None,
        description="Column of the source with the decision that was acted on, empty where there was none; rows whose "
        "decision is in 'hidden_after' or 'changed_after' are left out of training and evaluation.",
    )

    @model_validator(mode="after")
    def _decisions_are_named(self) -> "Label":
        if self.decision_column is not None and not self.selective:
            raise ValueError(
                f"'decision_column' is '{self.decision_column}', but neither 'hidden_after' nor 'changed_after' names "
                "a decision whose rows are left out; name one, or remove it"
            )
        return self

    @property
    def selective(self) -> tuple[str, ...]:
        """Return the decisions after which a label says nothing about the model, as texts."""
        return tuple(dict.fromkeys(str(decision) for decision in (*self.hidden_after, *self.changed_after)))
