"""The schema of the training set, from the project file and the reviewed schemas of the sources."""

import zipfile
from pathlib import Path
from typing import Any

from components.shared.errors import InputError
from components.shared.inputs import rows
from components.shared.project import Project

FILE = "schema.pbtxt"
Reviewed = dict[str, tuple[str, Any, list[str]]]
"""Column -> its source, its feature in the reviewed schema, and the values of a text column."""


def write(project: Project, bundle: Path, target: Path) -> Path:
    """Write the schema as a text proto.

    A categorical feature has the values that a reviewed schema lists for a column of its name.

    Args:
        project: The use case; its features and its label are the columns.
        bundle: The project bundle, with ``feature_repo/schema/<source>.pbtxt``.
        target: An existing folder.

    Returns:
        The file.

    Raises:
        InputError: If a reviewed schema is not one, or says that a numeric feature is text or the other way round.
    """
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2

    reviewed = _reviewed(project, bundle)
    schema = schema_pb2.Schema()
    for name in rows.numeric_names(project):
        _feature(schema, project, name, schema_pb2.FLOAT, reviewed)
    for name in rows.categorical_names(project):
        _feature(schema, project, name, schema_pb2.BYTES, reviewed)
    label = schema.feature.add(name=project.label.column, type=schema_pb2.FLOAT)
    label.presence.min_fraction, label.presence.min_count = 1.0, 1
    label.value_count.min = label.value_count.max = 1
    target.joinpath(FILE).write_text(text_format.MessageToString(schema, as_utf8=True), encoding="utf-8")
    return target / FILE


def _feature(schema: Any, project: Project, name: str, kind: int, reviewed: Reviewed) -> None:
    from tensorflow_metadata.proto.v0 import schema_pb2

    feature = schema.feature.add(name=name, type=kind)
    feature.value_count.max = 1
    if not project.features.columns[name].missing:
        feature.presence.min_fraction, feature.presence.min_count = 1.0, 1
    if name not in reviewed:
        return
    source, declared, values = reviewed[name]
    wanted, is_text = project.features.columns[name].type, declared.type == schema_pb2.BYTES
    if wanted != "boolean" and is_text != (kind == schema_pb2.BYTES):
        raise InputError(
            f"feature_repo/schema/{source}.pbtxt says that {name!r} is {'text' if is_text else 'a number'}, the "
            f"project file that it is {wanted}; correct one of them."
        )
    if kind == schema_pb2.BYTES and values:
        feature.string_domain.name = name
        feature.string_domain.value.extend(values)


def _reviewed(project: Project, bundle: Path) -> Reviewed:
    """Return the columns of all reviewed schemas."""
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2

    columns: Reviewed = {}
    with zipfile.ZipFile(bundle) as archive:
        for source in project.sources:
            member = f"feature_repo/schema/{source}.pbtxt"
            if member not in archive.namelist():
                continue
            try:
                schema = text_format.Parse(archive.read(member).decode("utf-8"), schema_pb2.Schema())
            except text_format.ParseError as error:
                raise InputError(f"{member} is not a schema of TensorFlow Metadata ({error}); fix the file.") from None
            domains = {domain.name: list(domain.value) for domain in schema.string_domain}
            for feature in schema.feature:
                values = list(feature.string_domain.value) or domains.get(feature.domain, [])
                columns.setdefault(feature.name, (source, feature, values))
    return columns
