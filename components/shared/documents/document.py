"""What all documents have in common: a schema version, one file name, one reader, one writer."""

import json
import math
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, model_validator

from components.shared import files
from components.shared.errors import StepFailed

Task = Literal["binary", "multiclass", "regression"]


def _defined(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


OptionalFloat = Annotated[float | None, BeforeValidator(_defined)]
"""A number that may be undefined: NaN and infinity, which JSON cannot hold, become None."""


class Part(BaseModel):
    """A value inside a document: immutable, without NaN, and a key that it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Document(Part):
    """One file that one step writes and others read.

    A subclass sets ``FILE`` and, whenever its fields change, raises ``VERSION`` and teaches ``upgraded`` to read the
    versions before. A file without ``schema_version`` was written before documents had versions: it is version 0.
    """

    FILE: ClassVar[str]
    """Name of the file in the folder of its artifact."""
    IS_ARTIFACT: ClassVar[bool] = False
    """Whether the artifact is the file itself; then ``FILE`` only names copies of it."""
    VERSION: ClassVar[int] = 1

    schema_version: int = 0

    @model_validator(mode="before")
    @classmethod
    def _current(cls, content: Any) -> Any:
        """Stamp what is made in memory with the current version."""
        return {"schema_version": cls.VERSION, **content} if isinstance(content, dict) else content

    @classmethod
    def upgraded(cls, content: Any, version: int) -> Any:
        """Turn the content of an older version into the current one; by default the fields are the same."""
        return content

    @classmethod
    def at(cls, path: str | Path) -> Path:
        """Return the document's file: in the folder of its artifact, or ``path`` where that is the file."""
        path = Path(path)
        return path if cls.IS_ARTIFACT or path.name == cls.FILE or path.is_file() else path / cls.FILE

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read the document from the folder of its artifact, or from the file itself.

        Raises:
            FileNotFoundError: If it is not there.
            StepFailed: If it is not such a document, or was written by a newer version of the project.
        """
        file = cls.at(path)
        try:
            return cls.parse(json.loads(file.read_text(encoding="utf-8")), str(file))
        except ValueError as error:
            raise StepFailed(f"{file} is not valid JSON ({error}); run the step that wrote it again.") from error

    @classmethod
    def parse(cls, content: Any, source: str) -> Self:
        """Validate parsed JSON.

        Args:
            content: The JSON value.
            source: Where it comes from, for the message.

        Raises:
            StepFailed: If it is not such a document, or was written by a newer version of the project.
        """
        version = content.get("schema_version", 0) if isinstance(content, dict) else 0
        if not isinstance(version, int) or not 0 <= version <= cls.VERSION:
            raise StepFailed(
                f"{source} has schema version {version!r}, this version of Perennial reads up to {cls.VERSION}; "
                "upgrade Perennial, or run the step that wrote it again."
            )
        if version < cls.VERSION:
            content = cls.upgraded(content, version)
        if not isinstance(content, dict):
            raise StepFailed(
                f"{source} holds a JSON {type(content).__name__}, expected an object; run the step that wrote it again."
            )
        try:
            return cls.model_validate({**content, "schema_version": cls.VERSION})
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the document"
            raise StepFailed(
                f"{source} is not a valid {cls.__name__} (schema version {version}): {where}: {first['msg']}; "
                "run the step that wrote it again."
            ) from error

    def write(self, path: str | Path) -> Path:
        """Write the document into the folder of its artifact, or to the file itself where ``FILE`` says so.

        Equal content is equal bytes; a reader sees the old file or the new one, never half.

        Args:
            path: The artifact's folder, created if absent, or the path of the file.

        Returns:
            The file.
        """
        file = self.at(path)
        files.write_json(file, self.as_json())
        return file

    def as_json(self) -> dict[str, Any]:
        """Return the content of the file as JSON values."""
        return self.model_dump(mode="json")
