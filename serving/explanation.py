"""The part of an answer that explains its scores, as V1 and as V2 write it."""

from typing import Any

import numpy as np

from serving.exchange import ScoredRequest
from serving.release import ServedRelease

OUTPUTS = ("margin", "base", "contributions", "contribution_errors")
"""The tensors of an explained answer, after those of every answer; the last two have a column per feature."""
BY_FEATURE = OUTPUTS[2:]


def objects(scored: ScoredRequest) -> list[dict[str, Any]]:
    """Return one object per explained row; a value is a number, or a list with one per class of a multiclass model."""
    names = scored.release.signature.inputs
    return [
        {
            "margin": _value(scored.release, one.margin),
            "base": _value(scored.release, one.base),
            "contributions": _by_name(scored.release, names, one.by_feature),
            "contribution_errors": _by_name(scored.release, names, one.error),
        }
        for one in scored.contributions or ()
    ]


def tensors(scored: ScoredRequest) -> dict[str, tuple[str, list[int], list[Any]]]:
    """Return datatype, shape and flat values of each tensor; a column per feature, in the order of the metadata."""
    if scored.contributions is None:
        return {}
    signature = scored.release.signature
    columns = [signature.inputs.index(name) for name in signature.ordered]
    parts: dict[str, list[np.ndarray]] = {
        "margin": [one.margin for one in scored.contributions],
        "base": [one.base for one in scored.contributions],
        "contributions": [one.by_feature[columns] for one in scored.contributions],
        "contribution_errors": [one.error[columns] for one in scored.contributions],
    }
    described = {}
    for name, values in parts.items():
        stacked = np.stack(values)
        if scored.release.task != "multiclass":
            stacked = stacked[..., 0]
        described[name] = ("FP64", list(stacked.shape), stacked.ravel().tolist())
    return described


def _by_name(release: ServedRelease, names: tuple[str, ...], values: np.ndarray) -> dict[str, Any]:
    return {name: _value(release, value) for name, value in zip(names, values, strict=True)}


def _value(release: ServedRelease, units: np.ndarray) -> Any:
    return units.tolist() if release.task == "multiclass" else float(units[0])
