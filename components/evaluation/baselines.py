"""The models that a candidate is compared with: scores of the test rows, and a threshold for each."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.evaluation import rule
from components.shared.inputs.rows import Inputs
from components.shared.measures.metrics import scorecard
from components.shared.measures.ranking import Floats
from components.shared.measures.value import best_threshold
from components.shared.project import Value
from components.shared.wording import significant


@dataclass(frozen=True)
class Contender:
    """One of the compared models: its scores of the test rows, where it acts, and one sentence on what it is."""

    score: Floats
    threshold: float | None
    description: str


@dataclass(frozen=True)
class Learnable:
    """Inputs and truth of one part of the split."""

    inputs: Inputs
    truth: NDArray[Any]


def rule_of_thumb(
    train: Learnable,
    validation: Learnable,
    test: Inputs,
    *,
    task: str,
    classes: list[str],
    names: tuple[list[str], list[str]],
    value: Value | None,
) -> Contender:
    """Learn the best single question on the training rows; keep it if it beats a constant on the validation rows."""
    targets = _targets(train.truth, task, len(classes))
    rule_of_thumb = rule.best(train.inputs, targets, *names)
    if rule_of_thumb.question and not _better_than_constant(rule_of_thumb, validation, task, classes):
        rule_of_thumb = rule.constant(targets)
    score = _shaped(rule_of_thumb.score(test), task)
    threshold = _threshold(_shaped(rule_of_thumb.score(validation.inputs), task), validation.truth, task, value)
    return Contender(score, threshold, _sentence(rule_of_thumb, task, classes, len(train.truth)))


def _targets(truth: NDArray[Any], task: str, classes: int) -> Floats:
    """Indicators of the classes, or the label as one column."""
    return truth[:, None].astype(float) if task == "regression" else np.eye(classes)[truth.astype(int)]


def _shaped(score: Floats, task: str) -> Floats:
    """Turn (rows, classes or 1) into what a scorecard of the task takes."""
    if task == "multiclass":
        return score
    return score[:, 1] if task == "binary" else score[:, 0]


def _threshold(score: Floats, truth: NDArray[Any], task: str, value: Value | None) -> float | None:
    return best_threshold(score, truth.astype(bool), value) if task == "binary" else None


def _better_than_constant(rule_of_thumb: rule.Rule, validation: Learnable, task: str, classes: list[str]) -> bool:
    scores = scorecard(task, validation.truth, _shaped(rule_of_thumb.score(validation.inputs), task), None)
    primary = float(scores.primary(np.ones((1, len(validation.truth))))[0])
    return primary > (0.0 if task == "regression" else 0.5)


def _sentence(rule_of_thumb: rule.Rule, task: str, classes: list[str], rows: int) -> str:
    learned = f"learned on {rows:,} training rows"
    if task == "regression":
        yes, no = significant(rule_of_thumb.yes[0]), significant(rule_of_thumb.no[0])
    elif task == "binary":
        yes, no = (f"{100 * side[1]:.1f} % {classes[1]}" for side in (rule_of_thumb.yes, rule_of_thumb.no))
    else:
        yes, no = (
            f"{100 * side.max():.1f} % {classes[int(side.argmax())]}" for side in (rule_of_thumb.yes, rule_of_thumb.no)
        )
    if rule_of_thumb.question is None:
        return f"always {yes}, as no single question did better ({learned})"
    return f"{rule_of_thumb.question}: {yes}, otherwise {no} ({learned})"
