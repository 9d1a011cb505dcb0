"""The columns that a model adds to the rows of a table."""

import json

import pyarrow as pa

from components.shared.documents.model_facts import ModelFacts
from components.shared.measures.ranking import Floats
from components.shared.package.decisions import decide
from components.shared.package.regions import Bounds, regions

VERSION = "model_version"


def names(facts: ModelFacts) -> list[str]:
    """Name the columns, in their order."""
    scores = [f"score_{name}" for name in facts.classes or ()] if facts.task == "multiclass" else ["score"]
    return [*scores, *(["decision"] if facts.task != "regression" else []), VERSION]


def columns(facts: ModelFacts, scores: Floats, version: str) -> dict[str, pa.Array]:
    """Return ``score`` (``score_<class>`` of several classes), ``decision`` if the model takes one, and its version.

    Args:
        facts: What the package says about the model.
        scores: (rows,) or (rows, classes).
        version: The model's version.
    """
    if facts.task == "multiclass":
        arrays = {f"score_{name}": pa.array(scores[:, i]) for i, name in enumerate(facts.classes or ())}
    else:
        arrays = {"score": pa.array(scores)}
    decisions = decide(facts.task, facts.classes or (), facts.threshold, scores)
    if decisions is not None:
        arrays["decision"] = pa.array(decisions, pa.string())
    return arrays | {VERSION: pa.array([version] * len(scores), pa.string())}


def region_names(facts: ModelFacts) -> list[str]:
    """Name the columns of an interval or set, in their order."""
    return ["lower", "upper"] if facts.task == "regression" else ["set"]


def region_columns(facts: ModelFacts, scores: Floats, level: float) -> dict[str, pa.Array]:
    """Return ``lower`` and ``upper`` of a regression, otherwise ``set``: a JSON list of classes.

    Args:
        facts: What the package says about the model.
        scores: (rows,) or (rows, classes).
        level: The share of labels that they hold.

    Raises:
        InputError: If the model has no intervals of this level.
    """
    held = regions(facts, scores, level)
    if isinstance(held, Bounds):
        return {name: pa.array(values) for name, values in zip(region_names(facts), held, strict=True)}
    return {"set": pa.array([json.dumps(names, ensure_ascii=False) for names in held], pa.string())}
