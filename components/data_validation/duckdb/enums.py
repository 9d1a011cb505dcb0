"""Names of enumerated values in messages of TensorFlow Metadata."""

from typing import Any


def name_of(message: Any, field: str) -> str:
    """Return the name of the value of a field, such as FLOAT for ``type``."""
    value = message.DESCRIPTOR.fields_by_name[field].enum_type.values_by_number[getattr(message, field)]
    return str(value.name)
