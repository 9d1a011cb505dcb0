"""Refuse a schema that declares what this backend does not check, so that nothing passes unnoticed."""

from typing import Any

from components.shared.errors import InputError

_TABLE = ("sparse_feature", "weighted_feature")
_COLUMN = ("group_presence", "value_counts", "struct_domain", "natural_language_domain", "image_domain")


def check(schema: Any) -> None:
    """Accept only what ``rules`` checks.

    Raises:
        InputError: If the schema declares structured, sparse or weighted columns, or texts and images to be understood.
    """
    declared = {field.name for field, _ in schema.ListFields()}
    _refuse(next((name for name in _TABLE if name in declared), None), "it")
    for feature in schema.feature:
        own = {field.name for field, _ in feature.ListFields()}
        _refuse(next((name for name in _COLUMN if name in own), None), f"the column {feature.name!r}")


def _refuse(field: str | None, subject: str) -> None:
    if field is not None:
        raise InputError(
            f"a schema of feature_repo/schema declares '{field}' for {subject}, which the validation backend "
            "duckdb does not check; remove it, or set 'validation: {backend: tfdv}'."
        )
