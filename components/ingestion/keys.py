"""Keys: the entity must be equal in every table in which it is meant to be."""

from collections.abc import Mapping

from components.shared.documents.snapshot import TableDescription
from components.shared.errors import InputError
from components.shared.project import Project
from components.shared.sql import identifier


def exact(project: Project, name: str, type_: str, *, as_text: bool) -> str:
    """Return the type to write for the entity of a source.

    Args:
        project: The project.
        name: Name of the source.
        type_: The type that its values have.
        as_text: Whether another source has texts.

    Raises:
        InputError: If the values are floating-point numbers: two different keys can become equal.
    """
    if type_ == "DOUBLE":
        raise InputError(
            f"source '{name}': the entity '{project.entity}' holds floating-point numbers; expected integers or texts, "
            "because two different keys can become the same number. Write the keys as integers or texts, or convert "
            f"them in the project file: 'convert: {{{project.entity}: CAST({identifier(project.entity)} AS BIGINT)}}'."
        )
    return "VARCHAR" if as_text else type_


def to_copy_as_text(project: Project, tables: Mapping[str, TableDescription]) -> list[str]:
    """Return the sources whose entity has integers while that of another has texts: '7' and 7 are one key."""
    types = {
        name: table.columns[project.entity]
        for name, table in tables.items()
        if project.entity in table.columns and project.sources[name].row_number != project.entity
    }
    return [name for name, type_ in types.items() if type_ == "BIGINT"] if "VARCHAR" in types.values() else []
