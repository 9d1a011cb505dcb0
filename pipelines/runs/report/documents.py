"""Read what the steps of a run left; a run that ended early left less, and that is no error here."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Where each document lies: the artifact of a step, and the file inside it ("" where the artifact is a file).
PLACES = {
    "snapshot": ("ingestion.snapshot", "snapshot.json"),
    "statistics": ("data_validation.statistics", "findings.json"),
    "champion": ("champion.model", "champion.json"),
    "training_set": ("feature_retrieval.training_set", "summary.json"),
    "split": ("split.splits", "split.json"),
    "study": ("tuning.study", "study.json"),
    "trials": ("tuning.study", "trials.json"),
    "best": ("tuning.study", "best.json"),
    "model": ("training.model", "model.json"),
    "training": ("training.model", "training.json"),
    "evaluation": ("evaluation.report", "evaluation.json"),
    "verdict": ("gate.verdict", ""),
    "release": ("registration.release", "release.json"),
    "card": ("registration.card", ""),
    "advice": ("rejection.advice", ""),
}
_TEXTS = {"card", "advice"}


@dataclass(frozen=True)
class Documents:
    """The documents of a run; None where a step did not write one."""

    snapshot: dict[str, Any] | None
    statistics: dict[str, Any] | None
    champion: dict[str, Any] | None
    training_set: dict[str, Any] | None
    split: dict[str, Any] | None
    study: dict[str, Any] | None
    trials: list[dict[str, Any]] | None
    best: dict[str, Any] | None
    model: dict[str, Any] | None
    training: dict[str, Any] | None
    evaluation: dict[str, Any] | None
    verdict: dict[str, Any] | None
    release: dict[str, Any] | None
    card: str | None
    advice: str | None


def read(artifacts: Mapping[str, str]) -> Documents:
    """Read every document that a run's artifacts hold."""
    found = {}
    for name, (artifact, file) in PLACES.items():
        folder = artifacts.get(artifact)
        found[name] = _read(Path(folder) / file if file else Path(folder), name in _TEXTS) if folder else None
    return Documents(**found)


def _read(path: Path, is_text: bool) -> Any:
    # A step that was killed while it wrote leaves no file, or half of one.
    try:
        text = path.read_text(encoding="utf-8")
        return text if is_text else json.loads(text)
    except (OSError, ValueError):
        return None
