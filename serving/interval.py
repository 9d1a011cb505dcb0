"""The part of an answer that says what each label may be, where a request asks for it with ``interval``."""

import contextlib
from typing import Any

import orjson

from components.shared.documents.document import Task
from components.shared.package.regions import Bounds
from serving.exchange import ScoredRequest
from serving.refusal import RequestRefused, shown

BOUNDS = ("lower", "upper")
"""The tensors of a regression's bounds (FP64)."""
SET = "set"
"""The tensor of the sets of classes (BYTES): a JSON list per row."""


def outputs(task: Task) -> tuple[str, ...]:
    """Name the tensors that an answer has in addition."""
    return BOUNDS if task == "regression" else (SET,)


def from_json(value: Any) -> float | None:
    """Take the level of a request from a JSON value; None if absent.

    Raises:
        RequestRefused: If it is not a number; whether it is a level, the release says.

    >>> from_json(0.9), from_json(None)
    (0.9, None)
    """
    if value is None:
        return None
    if type(value) not in (int, float):
        raise RequestRefused(
            400, f"'interval' is {shown(value)}; expected a number above 0 and below 1, such as 0.9.", "interval"
        )
    return float(value)


def from_parameter(value: Any) -> float | None:
    """Take the level from a parameter over gRPC, which has no type for a number with decimals: a text, such as '0.9'.

    >>> from_parameter("0.9"), from_parameter(None)
    (0.9, None)
    """
    if type(value) is str:
        # Another text is refused below, as it was sent.
        with contextlib.suppress(ValueError):
            value = float(value)
    return from_json(value)


def objects(scored: ScoredRequest) -> list[dict[str, Any]]:
    """Return one object per row: ``lower`` and ``upper``, or ``set``."""
    regions = scored.regions or []
    if not isinstance(regions, Bounds):
        return [{SET: names} for names in regions]
    return [
        dict(zip(BOUNDS, bounds, strict=True))
        for bounds in zip(regions.lower.tolist(), regions.upper.tolist(), strict=True)
    ]


def tensors(scored: ScoredRequest) -> dict[str, tuple[str, list[int], list[Any]]]:
    """Return datatype, shape and flat values of each tensor."""
    regions, shape = scored.regions, [scored.request.rows]
    if regions is None:
        return {}
    if not isinstance(regions, Bounds):
        return {SET: ("BYTES", shape, [orjson.dumps(names).decode() for names in regions])}
    return {name: ("FP64", shape, values.tolist()) for name, values in zip(BOUNDS, regions, strict=True)}
