"""The part of an answer that says how old the features are that were looked up, and on request which were scored."""

from typing import Any

import numpy as np
import orjson

from serving.exchange import ScoredRequest
from serving.online.looked_up import described
from serving.refusal import RequestRefused, shown
from serving.signature import Column

AGES, FEATURES = "feature_ages", "features"
"""The fields of a row, and the tensors (BYTES), of which each row is a JSON object."""
ASKED = "return_features"
"""The key or parameter with which a request asks for the features themselves."""


def outputs(*, looks_up: bool, shows_features: bool) -> tuple[str, ...]:
    """Name the tensors that an answer has in addition."""
    return ((AGES,) if looks_up else ()) + ((FEATURES,) if shows_features else ())


def from_json(value: Any) -> bool:
    """Take from a JSON value whether the answer must hold the features; absent is no.

    Raises:
        RequestRefused: If it is neither true nor false.
    """
    if value is None:
        return False
    if type(value) is not bool:
        raise RequestRefused(400, f"'{ASKED}' is {shown(value)}; expected true or false.", "type")
    return value


def objects(scored: ScoredRequest, *, shows_features: bool) -> list[dict[str, Any]]:
    """Return one object per row: its ages by view where features were looked up, its features where asked for."""
    request = scored.request
    rows: list[dict[str, Any]] = [{} for _ in range(request.rows)]
    if request.looked_up is not None:
        for row, ages in zip(rows, request.looked_up.ages, strict=True):
            row[AGES] = described(ages)
    if shows_features:
        columns = {name: _values(request.columns[name]) for name in scored.release.signature.ordered}
        for index, row in enumerate(rows):
            row[FEATURES] = {name: column[index] for name, column in columns.items()}
    return rows


def tensors(scored: ScoredRequest, *, shows_features: bool) -> dict[str, tuple[str, list[int], list[Any]]]:
    """Return datatype, shape and flat values of each tensor."""
    rows = objects(scored, shows_features=shows_features)
    names = outputs(looks_up=scored.request.looked_up is not None, shows_features=shows_features)
    return {name: ("BYTES", [len(rows)], [orjson.dumps(row[name]).decode() for row in rows]) for name in names}


def _values(column: Column) -> list[Any]:
    """Return a column as JSON values, a missing one as None."""
    if isinstance(column, np.ndarray):
        return [None if value != value else value for value in column.tolist()]
    return list(column)
