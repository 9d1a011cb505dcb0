"""The parts of evaluation.json, each taken from the same judged rows."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components.evaluation import robustness
from components.shared.inputs.rows import Inputs
from components.shared.measures import bootstrap, fairness, labels, slices, value_report
from components.shared.measures.calibration import calibration
from components.shared.measures.metrics import HIGHER_IS_BETTER, PRIMARY, Binary, Multiclass, Scorecard, scorecard
from components.shared.measures.ranking import Floats
from components.shared.package.table_model import TableModel
from components.shared.project import Project

# A confusion matrix beyond this many classes is read by nobody; the rarest share one row.
_LARGEST_MATRIX = 30
_OTHERS = "(others)"


@dataclass(frozen=True)
class Judged:
    """The test rows, their truth, and each model's scorecard: candidate, rule, plain, and champion if compared."""

    project: Project
    package: TableModel
    classes: list[str]
    tables: dict[str, pa.Table]
    inputs: Inputs
    truth: NDArray
    cards: dict[str, Scorecard]
    clusters: NDArray[np.intp]
    seed: int

    @property
    def candidate(self) -> Scorecard:
        """The model that is judged."""
        return self.cards["candidate"]

    @property
    def higher_is_better(self) -> bool:
        """Direction of the primary metric."""
        return bool(HIGHER_IS_BETTER[PRIMARY[self.project.task]])


def numbers(judged: Judged) -> dict[str, Any]:
    """Measure metrics, comparisons and slices, all on the same resamples."""
    how = judged.project.evaluation
    primary = PRIMARY[judged.project.task]
    groups = slices.Groups(judged.tables["train"], judged.tables["test"])
    declared = [(column,) if isinstance(column, str) else column for column in how.slices]
    parts = [
        part
        for columns in declared
        for part in groups.slices(columns)
        if slices.supported(part, judged.candidate, how.min_support)
    ]
    inside = [judged.candidate.subset(part.rows) for part in parts]
    worth = None
    if judged.project.value is not None and isinstance(judged.candidate, Binary):
        worth = value_report.per_row(judged.project.value, judged.candidate)

    def statistic(weights: Floats) -> dict[str, Floats]:
        found = dict(judged.candidate.measure(weights))
        if worth is not None:
            found["value_per_1000"] = 1000 * (weights @ worth) / weights.sum(axis=1)
        found["candidate/"] = found[primary]
        found |= {f"{name}/": card.primary(weights) for name, card in judged.cards.items() if name != "candidate"}
        return found | {f"slice/{i}": inside[i].primary(weights[:, part.rows]) for i, part in enumerate(parts)}

    drawn = bootstrap.distributions(statistic, judged.clusters, resamples=how.resamples, seed=judged.seed)
    return {
        "primary": primary,
        "higher_is_better": judged.higher_is_better,
        "confidence": how.confidence,
        "resamples": how.resamples,
        "metrics": {name: vars(found.interval(how.confidence)) for name, found in drawn.items() if "/" not in name},
        "directions": {name: HIGHER_IS_BETTER[name] for name in drawn if "/" not in name},
        "baselines": {name: _plain_numbers(judged, name) for name in ("rule", "plain", "champion")},
        "comparisons": {name: _comparison(judged, drawn, name, primary) for name in ("rule", "plain", "champion")},
        "slices": [
            slices.entry(part, drawn[f"slice/{i}"], drawn["candidate/"], judged.cards["plain"], how.confidence)
            for i, part in enumerate(parts)
        ],
        "worst": _worst(judged, groups) if how.find_worst else None,
    }


def _plain_numbers(judged: Judged, name: str) -> dict[str, float] | None:
    if name not in judged.cards:
        return None
    card = judged.cards[name]
    found = {metric: float(value[0]) for metric, value in card.measure(np.ones((1, len(judged.truth)))).items()}
    if judged.project.value is not None and isinstance(card, Binary):
        found["value_per_1000"] = 1000 * float(value_report.per_row(judged.project.value, card).mean())
    return found


def _comparison(
    judged: Judged, drawn: dict[str, bootstrap.Distribution], name: str, primary: str
) -> dict[str, Any] | None:
    """Candidate minus the other in the primary metric, with the bounds of the paired difference."""
    if name not in judged.cards:
        return None
    apart = (drawn["candidate/"] - drawn[f"{name}/"]).interval(judged.project.evaluation.confidence)
    return {"metric": primary, "difference": apart.value, "low": apart.low, "high": apart.high}


def _worst(judged: Judged, groups: slices.Groups) -> dict[str, Any] | None:
    how = judged.project.evaluation
    return slices.worst(
        groups,
        [name for name in judged.project.features.columns if name in judged.tables["test"].column_names],
        judged.candidate,
        judged.cards["plain"],
        judged.clusters,
        min_support=how.min_support,
        confidence=how.confidence,
        higher_is_better=judged.higher_is_better,
        seed=judged.seed,
    )


def pictures(judged: Judged) -> dict[str, Any]:
    """Draw calibration, confusion matrix and ROC; None where the task has no such thing."""
    card = judged.candidate
    if isinstance(card, Binary):
        brier = float(((card.score - card.truth) ** 2).mean())
        matrix = np.zeros((2, 2), dtype=int)
        np.add.at(matrix, (card.truth.astype(int), card.acted.astype(int)), 1)
        return {
            "calibration": calibration(card.score, card.truth, brier),
            "confusion": {"labels": judged.classes, "matrix": matrix.tolist()},
            "roc": card.roc(),
        }
    if isinstance(card, Multiclass):
        brier = float(((card.score - np.eye(card.score.shape[1])[card.truth]) ** 2).sum(axis=1).mean())
        return {
            "calibration": calibration(card.score.max(axis=1), card.answer == card.truth, brier),
            "confusion": _matrix(card, judged.classes),
            "roc": None,
        }
    return {"calibration": None, "confusion": None, "roc": None}


def _matrix(card: Multiclass, classes: list[str]) -> dict[str, Any]:
    """Rows are true classes, columns answers; beyond thirty classes the rarest are put together."""
    number, labels = np.arange(len(classes)), list(classes)
    if len(classes) > _LARGEST_MATRIX:
        frequent = np.sort(
            np.argsort(-np.bincount(card.truth, minlength=len(classes)), kind="stable")[: _LARGEST_MATRIX - 1]
        )
        number = np.full(len(classes), _LARGEST_MATRIX - 1)
        number[frequent] = np.arange(len(frequent))
        labels = [classes[i] for i in frequent] + [_OTHERS]
    matrix = np.zeros((len(labels), len(labels)), dtype=int)
    np.add.at(matrix, (number[card.truth], number[card.answer]), 1)
    return {"labels": labels, "matrix": matrix.tolist()}


def groups(judged: Judged) -> list[dict[str, Any]]:
    """Compare the groups of each declared column."""
    how = judged.project.evaluation
    named = slices.Groups(judged.tables["train"], judged.tables["test"])
    return [
        fairness.compare(column, named.of(column).texts(), judged.candidate, judged.classes, how.min_support)
        for column in how.fairness
    ]


def robustness_of(judged: Judged) -> list[dict[str, Any]]:
    """Score perturbed copies of a sample of the test rows."""
    card = judged.package.card
    chosen = robustness.sample(len(judged.truth), len(card["features"]), judged.seed)
    inside = judged.candidate.subset(chosen)
    base = float(inside.primary(np.ones((1, len(chosen))))[0])
    std = robustness.standard_deviations(judged.package.inputs(judged.tables["train"]).numeric)

    def card_of(inputs: Inputs) -> Scorecard:
        score = labels.widen(judged.package.score(inputs), len(judged.classes))
        return scorecard(judged.project.task, judged.truth[chosen], score, card["threshold"])

    perturbed = robustness.perturbations(
        judged.inputs.take(chosen), std, card["features"], card["numeric"], card["categorical"], judged.seed
    )
    return robustness.losses(
        perturbed, rows=len(chosen), card_of=card_of, base=base, higher_is_better=judged.higher_is_better
    )


def value_of(judged: Judged) -> dict[str, Any] | None:
    """Say what the decisions are worth; None without a value in the project file, or without a decision."""
    if judged.project.value is None or not isinstance(judged.candidate, Binary):
        return None
    champion = judged.cards.get("champion")
    return value_report.report(
        judged.project.value, judged.candidate, champion if isinstance(champion, Binary) else None
    )


def predictions(judged: Judged) -> pa.Table:
    """Return entity, event time, label and each model's score of every test row."""
    test, project = judged.tables["test"], judged.project
    columns: dict[str, Any] = {
        "entity": test.column(project.entity),
        "event_time": test.column(project.event_time),
        "label": test.column(project.label.column),
    }
    for name, card in judged.cards.items():
        score = card.score
        columns[name] = pa.array(score if score.ndim == 1 else list(score))
    return pa.table(columns)


def without_nan(value: Any) -> Any:
    """Replace NaN, which JSON cannot hold, by None: an undefined metric or bound."""
    if isinstance(value, dict):
        return {key: without_nan(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [without_nan(inner) for inner in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
