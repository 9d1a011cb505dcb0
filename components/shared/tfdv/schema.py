"""The reviewed schema of a table: a text proto in the feature repo that defines which data is valid."""

import json
import zipfile
from typing import Any

from components.shared.errors import InputError

TRAINING = "TRAINING"
SERVING = "SERVING"
_TYPES = {1: "BYTES", 2: "INT", 3: "FLOAT"}


def load(bundle_path: str, source: str) -> Any | None:
    """Read ``feature_repo/schema/<source>.pbtxt`` from a bundle; None if there is none.

    Raises:
        InputError: If the file is not a schema.
    """
    member = f"feature_repo/schema/{source}.pbtxt"
    with zipfile.ZipFile(bundle_path) as archive:
        if member not in archive.namelist():
            return None
        return parse(archive.read(member).decode("utf-8"), member)


def parse(text: str, name: str) -> Any:
    """Parse a schema.

    Raises:
        InputError: With the line and column of the first syntax error.
    """
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2

    try:
        return text_format.Parse(text, schema_pb2.Schema())
    except text_format.ParseError as problem:
        raise InputError(
            f"{name} is not a valid TensorFlow Metadata schema ({str(problem).strip()}); expected a text proto. Fix "
            "the file."
        ) from None


def types(schema: Any) -> dict[str, str]:
    """Return the type of each column of a schema."""
    return {feature.name: _TYPES[feature.type] for feature in schema.feature if feature.type in _TYPES}


def domains(schema: Any) -> list[str]:
    """List the text columns whose values the schema enumerates."""
    return [
        feature.name
        for feature in schema.feature
        if feature.type == 1 and (feature.domain or feature.HasField("string_domain"))
    ]


def text(schema: Any) -> str:
    """Write a schema as a text proto, for review."""
    from google.protobuf import text_format

    return str(text_format.MessageToString(schema, as_utf8=True))


def column(path: str) -> str:
    """Return the column of a path that TFDV serialised.

    >>> column("mean radius"), column("(plan.name)")
    ('mean radius', 'plan.name')
    """
    return path[1:-1] if path.startswith("(") and path.endswith(")") else json.loads(path) if path[:1] == '"' else path
