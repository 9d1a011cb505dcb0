"""Projects and evaluations for tests of the gate."""

from typing import Any

from components.shared.documents.evaluation import Comparisons, EvaluatedRows, EvaluationReport, OldRows
from components.shared.documents.measurements import Calibration, Metric
from components.shared.documents.verdict import Verdict
from components.shared.project import Project
from tests import documents


def project(**gate: Any) -> Project:
    return Project.model_validate(
        {
            "name": "made",
            "task": "binary",
            "entity": "id",
            "event_time": "at",
            "sources": {"rows": {"path": "rows.parquet"}},
            "label": {"source": "rows", "column": "label"},
            "features": {"service": "made", "columns": {"x": {"type": "numeric"}}},
            "gate": gate,
        }
    )


def comparisons(rule: float, plain: float, champion: float | None = None) -> Comparisons:
    rule_, plain_, champion_ = (
        None if difference is None else documents.comparison(difference, 0.005)
        for difference in (rule, plain, champion)
    )
    return Comparisons(rule=rule_, plain=plain_, champion=champion_)


def in_metric(metric: str, plain: float = 0.0, champion: float | None = None, half: float = 0.005) -> Comparisons:
    """Return comparisons in another metric than the main one."""
    rule_, plain_, champion_ = (
        None if difference is None else documents.comparison(difference, half, metric=metric)
        for difference in (0.0, plain, champion)
    )
    return Comparisons(rule=rule_, plain=plain_, champion=champion_)


def metrics(auc: float = 0.8, brier: float = 0.15, recall: float | None = 0.6) -> dict[str, Metric]:
    return {"auc": documents.metric(auc), "recall": documents.metric(recall), "brier": documents.metric(brier)}


def calibration(ece: float) -> Calibration:
    return Calibration(bins=(), ece=ece, brier=0.15)


def rows(test: int, excluded: int = 0) -> EvaluatedRows:
    by_class = {"no": test - test // 4, "yes": test // 4}
    return EvaluatedRows(
        test=test, excluded_seen=excluded, excluded_by_split=excluded, excluded_by_champion=0, by_class=by_class
    )


def old_rows(loss: float | None, **changes: Any) -> OldRows:
    """Return a loss on old rows on which that of the first release was 0.4."""
    passing: dict[str, Any] = {
        "rows": 800,
        "content_hash": "0123456789abcdef" * 4,
        "newest": "2025-03-31T00:00:00+00:00",
        "metric": "log_loss",
        "loss": loss,
        "first_loss": 0.4,
        "chosen_because": None,
    }
    return OldRows(**(passing | changes))


def measured(champion: float | None = None, **changes: Any) -> EvaluationReport:
    """An evaluation that passes every rule."""
    passing: dict[str, Any] = {
        "rows": rows(800, excluded=3),
        "metrics": metrics(),
        "directions": {"auc": True, "recall": True, "brier": False, "log_loss": False, "accuracy": True},
        "comparisons": comparisons(0.1, 0.01, champion),
        "probabilities": in_metric("log_loss", 0.0, None if champion is None else 0.0),
        "decisions": in_metric("accuracy", 0.0, None if champion is None else 0.0),
        "champion": {"version": None, "compared": champion is not None, "reason": None},
        "old_rows": old_rows(0.4),
        "slices": (documents.slice_measure(-0.04), documents.slice_measure(0.02)),
        "fairness": (documents.fairness(column="region", demographic_parity_difference=0.05),),
    }
    return documents.evaluation(**(passing | changes))


def ruling(verdict: Verdict, rule: str) -> Any:
    (matching,) = [ruling for ruling in verdict.rules if ruling.rule == rule]
    return matching
