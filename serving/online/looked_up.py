"""What of the online store's rows may be used at a moment, and what the answer says of it."""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np

from components.shared.documents.feature_views import FeatureViewFacts
from components.shared.documents.model_facts import FeatureFacts
from components.shared.inputs.categories import category_text
from serving.online.feature_server import StoredRow
from serving.refusal import RequestRefused, short, shown

_SECOND_US = 1_000_000
_LIMIT = float(np.finfo(np.float32).max)
_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
"""How Feast writes these numbers in JSON."""
_NUMBERS = (int, float)


class ViewAge(NamedTuple):
    """What became of the row of a view.

    ``event_time_us`` is microseconds since 1970 in UTC, None if the store has no row of the entity; ``age_s`` is from
    then to the moment that the request describes. An expired row is older than its view allows, and not used.
    """

    event_time_us: int | None = None
    age_s: float | None = None
    is_expired: bool = False


class LookedUp(NamedTuple):
    """The features that were looked up, as served: one value per row, and per row the ages by view."""

    columns: dict[str, list[Any]]
    ages: list[dict[str, ViewAge]]


def usable(
    views: Sequence[FeatureViewFacts],
    features: Mapping[str, FeatureFacts],
    rows: Mapping[str, Sequence[StoredRow | None]],
    entities: Sequence[str],
    moment_us: int,
) -> LookedUp:
    """Take the values that may be used, as feature retrieval does for a training row of that moment.

    A row counts until its event time plus the time to live of its view, this instant included. Beyond it, and where
    the store has no row, its features are missing.

    Args:
        views: The views, each with those of its features that are wanted.
        features: Feature to its facts.
        rows: View to the stored row of each entity.
        entities: Whom the rows are about.
        moment_us: What the request describes, in microseconds since 1970.

    Raises:
        RequestRefused: 409 if a row is newer than the moment, a value is not of the feature's type, or the model needs
            a value that is missing.
    """
    columns: dict[str, list[Any]] = {}
    ages: list[dict[str, ViewAge]] = [{} for _ in entities]
    for view in views:
        for index, (entity, row) in enumerate(zip(entities, rows[view.name], strict=True)):
            ages[index][view.name] = age = _age(view, entity, row, moment_us)
            values = {} if row is None or age.is_expired else row.values
            for name in view.features:
                value = _value(features[name], entity, values.get(name))
                if value is None and not features[name].missing:
                    raise _needed(name, entity, view, age)
                columns.setdefault(name, []).append(value)
    return LookedUp(columns, ages)


def _age(view: FeatureViewFacts, entity: str, row: StoredRow | None, moment_us: int) -> ViewAge:
    if row is None:
        return ViewAge()
    age_us = moment_us - row.event_time_us
    if age_us < 0:
        raise RequestRefused(
            409,
            f"the online store's row of entity {short(entity)} in the view {short(view.name)} is of "
            f"{iso(row.event_time_us)}, after {iso(moment_us)}, which the request describes; the store has the newest "
            "rows only, so send the features of an earlier moment.",
            "newer_row",
        )
    is_expired = view.ttl_s > 0 and age_us > round(view.ttl_s * _SECOND_US)
    return ViewAge(row.event_time_us, age_us / _SECOND_US, is_expired)


def _value(feature: FeatureFacts, entity: str, value: Any) -> Any:
    """Return a value as a request would carry it; None is missing.

    Raises:
        RequestRefused: If it is not of the feature's type.
    """
    if value is None or feature.type == "categorical":
        return None if value is None else category_text(value) or None
    number = _NOT_FINITE.get(value, value) if isinstance(value, str) else value
    if isinstance(number, _NUMBERS):
        if math.isnan(number):
            return None
        if feature.type == "numeric":
            # Training rows are limited in the same way.
            return int(number) if isinstance(number, bool) else min(max(number, -_LIMIT), _LIMIT)
        if number in (0, 1):
            return bool(number)
    raise RequestRefused(
        409,
        f"feature {short(feature.name)} of entity {short(entity)} is {shown(value)} in the online store, and the model "
        f"was trained on {feature.type} values; correct the feature view, and materialize it again.",
        "stored_type",
    )


def _needed(name: str, entity: str, view: FeatureViewFacts, age: ViewAge) -> RequestRefused:
    if age.event_time_us is None:
        why = "the online store has no row of it"
    elif age.is_expired:
        why = f"its row is of {iso(age.event_time_us)}, older than the {view.ttl_s:g} s for which the view is valid"
    else:
        why = f"its row of {iso(age.event_time_us)} has no value"
    return RequestRefused(
        409,
        f"feature {short(name)} of entity {short(entity)} is missing in the view {short(view.name)} ({why}), and the "
        "model needs a value; materialize newer rows, or send the feature.",
        "stored_missing",
    )


def iso(time_us: int) -> str:
    """Write a time as ISO 8601 in UTC.

    >>> iso(86_400_000_000)
    '1970-01-02T00:00:00Z'
    """
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time_us)).isoformat().replace("+00:00", "Z")


def described(ages: Mapping[str, ViewAge]) -> dict[str, dict[str, Any]]:
    """Return the ages of one row as JSON values; ``event_time`` null: the store has no row.

    >>> described({"usage": ViewAge(0, 90.0, True), "support": ViewAge()})["usage"]
    {'event_time': '1970-01-01T00:00:00Z', 'age_s': 90.0, 'expired': True}
    """
    return {
        view: {
            "event_time": None if age.event_time_us is None else iso(age.event_time_us),
            "age_s": age.age_s,
            "expired": age.is_expired,
        }
        for view, age in ages.items()
    }
