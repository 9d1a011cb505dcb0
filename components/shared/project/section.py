"""What the sections of the project file have in common."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from components.shared.blank import clean

# A DNS label, short enough for the suffixes that KServe appends: the name is used for Kubernetes resources.
ResourceName = Annotated[str, Field(pattern=r"^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$")]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
ColumnName = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^/\\\x00-\x1f]+$")]
# A value of a table, in the form that ingestion copies it.
Text = Annotated[str, AfterValidator(clean)]
Share = Annotated[float, Field(gt=0, lt=1)]
Reaction = Literal["block", "warn", "ignore"]


class Section(BaseModel):
    """A section of the project file: immutable; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")
