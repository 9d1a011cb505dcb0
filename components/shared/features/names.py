"""Rename the project's columns that clash with the names that Feast's DuckDB join uses itself."""

from typing import Any

from feast import FeatureService, FeatureView

ROW = "perennial_row"
"""Number of an example, carried through the join."""
TIME = "event_timestamp"
"""Feast's name for the time of an example."""

_RESERVED = {ROW, TIME, "entity_row_id", "event_expire_timestamp", "rn"}


def feature(name: str) -> str:
    """Return the name of a feature during the join: Feast drops names that end in ``_y`` and splits names at colons.

    >>> feature("income"), feature("income_y"), feature("a:b")
    ('income', 'income_y~', 'a%3Ab~')
    """
    clashes = name in _RESERVED or name.endswith("_y") or ":" in name
    return name.replace(":", "%3A") + "~" if clashes else name


def time(name: str) -> str:
    """Return the name of a view's time during the join; unlike a feature, it may be called ``TIME``."""
    return name if name == TIME else feature(name)


def rename_clashes(objects: list[Any]) -> None:
    """Rename the clashing columns in newly loaded Feast objects, in place."""
    for item in objects:
        if isinstance(item, FeatureView):
            source = item.batch_source
            source.timestamp_field = time(source.timestamp_field)
            source.created_timestamp_column = time(source.created_timestamp_column or "")
            for field in (*item.features, *item.projection.features):
                field.name = feature(field.name)
        if isinstance(item, FeatureService):
            for projection in item.feature_view_projections:
                for field in projection.features:
                    field.name = feature(field.name)
