"""Column names that Feast's DuckDB join uses for itself; a column of the project called so travels under another."""

from typing import Any

from feast import FeatureService, FeatureView

ROW = "perennial_row"
"""Our own number of an example, carried through the join."""
TIME = "event_timestamp"
"""What Feast calls the time of an example."""

_TAKEN = {ROW, TIME, "entity_row_id", "event_expire_timestamp", "rn"}


def feature(name: str) -> str:
    """Name under which a feature travels: Feast drops names that end in ``_y`` and splits them at colons.

    >>> feature("income"), feature("income_y"), feature("a:b")
    ('income', 'income_y~', 'a%3Ab~')
    """
    clashes = name in _TAKEN or name.endswith("_y") or ":" in name
    return name.replace(":", "%3A") + "~" if clashes else name


def time(name: str) -> str:
    """Name under which a view's own time travels; unlike a feature it may be called as the example's time."""
    return name if name == TIME else feature(name)


def shelter(objects: list[Any]) -> None:
    """Rename, in Feast objects that were just read, what would clash."""
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
