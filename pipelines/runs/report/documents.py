"""Read what the steps of a run left; a run that ended early left less, and that is no error here."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.shared.documents.best_hyperparameters import BestHyperparameters
from components.shared.documents.cadence import Cadence
from components.shared.documents.champion import ChampionRecord
from components.shared.documents.data_quality import DataQuality
from components.shared.documents.document import Document
from components.shared.documents.evaluation import EvaluationReport
from components.shared.documents.findings import ValidationFindings
from components.shared.documents.materialization import MaterializationSummary
from components.shared.documents.model_facts import ModelFacts
from components.shared.documents.monitoring import DriftReport, LogWindow, MonitoringDecision, PerformanceReport
from components.shared.documents.release import RegisteredVersion
from components.shared.documents.skew import SkewReport
from components.shared.documents.snapshot import SnapshotDescription
from components.shared.documents.split import SplitSummary
from components.shared.documents.study import StudySummary
from components.shared.documents.training_history import TrainingHistory
from components.shared.documents.training_set import TrainingSetSummary
from components.shared.documents.trials import Trials
from components.shared.documents.verdict import Verdict
from components.shared.errors import StepFailed

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Documents:
    """The documents of a run; None where a step did not write one."""

    snapshot: SnapshotDescription | None
    validation: ValidationFindings | None
    champion: ChampionRecord | None
    training_set: TrainingSetSummary | None
    split: SplitSummary | None
    study: StudySummary | None
    trials: Trials | None
    best: BestHyperparameters | None
    model: ModelFacts | None
    training: TrainingHistory | None
    evaluation: EvaluationReport | None
    verdict: Verdict | None
    materialization: MaterializationSummary | None
    window: LogWindow | None
    drift: DriftReport | None
    performance: PerformanceReport | None
    quality: DataQuality | None
    decision: MonitoringDecision | None
    cadence: Cadence | None
    skew: SkewReport | None
    release: RegisteredVersion | None
    card: str | None
    advice: str | None


# Which artifact of which step each document is in.
_DOCUMENTS: dict[str, tuple[str, type[Document]]] = {
    "snapshot": ("ingestion.snapshot", SnapshotDescription),
    "validation": ("data_validation.statistics", ValidationFindings),
    "champion": ("champion.model", ChampionRecord),
    "training_set": ("feature_retrieval.training_set", TrainingSetSummary),
    "split": ("split.splits", SplitSummary),
    "study": ("tuning.study", StudySummary),
    "trials": ("tuning.study", Trials),
    "best": ("tuning.study", BestHyperparameters),
    "model": ("training.model", ModelFacts),
    "training": ("training.model", TrainingHistory),
    "evaluation": ("evaluation.report", EvaluationReport),
    "verdict": ("gate.verdict", Verdict),
    "materialization": ("materialization.summary", MaterializationSummary),
    "window": ("log_window.window", LogWindow),
    "drift": ("drift.report", DriftReport),
    "performance": ("performance.report", PerformanceReport),
    "quality": ("data_quality.report", DataQuality),
    "decision": ("decision.outcome", MonitoringDecision),
    "cadence": ("cadence.recommendation", Cadence),
    "skew": ("skew_audit.report", SkewReport),
    "release": ("registration.release", RegisteredVersion),
}
_ALTERNATIVES = {"drift.report": "alibi_drift.report"}
"""Artifact to that of a step which may stand in its place."""
_TEXTS = {"card": "registration.card", "advice": "rejection.advice"}


def places() -> set[tuple[str, str]]:
    """Name every artifact that a report reads, and the file inside it ("" where the artifact is the file)."""
    documents = {(artifact, "" if kind.IS_ARTIFACT else kind.FILE) for artifact, kind in _DOCUMENTS.values()}
    documents |= {
        (other, file) for artifact, other in _ALTERNATIVES.items() for it, file in documents if it == artifact
    }
    return documents | {(artifact, "") for artifact in _TEXTS.values()}


def read(artifacts: Mapping[str, str]) -> Documents:
    """Read every document that a run's artifacts hold.

    Args:
        artifacts: ``step.output`` to the path of the artifact.
    """
    written: dict[str, Any] = {
        name: _document(kind, artifacts.get(artifact) or artifacts.get(_ALTERNATIVES.get(artifact, "")))
        for name, (artifact, kind) in _DOCUMENTS.items()
    }
    written |= {name: _text(artifacts.get(artifact)) for name, artifact in _TEXTS.items()}
    return Documents(**written)


# A step that was killed while it wrote leaves no file, or half of one.
def _document(kind: type[Document], path: str | None) -> Document | None:
    try:
        return kind.read(path) if path else None
    except (OSError, StepFailed) as unreadable:
        _log.info("the report leaves out a document: %s", unreadable)
        return None


def _text(path: str | None) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8") if path else None
    except (OSError, ValueError):
        return None
