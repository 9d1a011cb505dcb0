"""The artifacts of one candidate as the steps leave them: small, complete, and easy to change in one place."""

import functools
import shutil
import tempfile
from pathlib import Path
from typing import Any

from components.shared import bundle, registry
from components.shared.project import Project
from components.shared.registry import Evidence
from tests import documents

CODE = {"commit": "4b9d291", "dirty": "false", "lock:training": "e" * 64, "lock:evaluation": "f" * 64}


def project(**sections: Any) -> Project:
    """Return a small project."""
    columns = {"usage": {"type": "numeric"}, "plan": {"type": "categorical", "missing": False}}
    plain = {
        "name": "made",
        "task": "binary",
        "entity": "customer",
        "event_time": "at",
        "sources": {"rows": {"path": "rows.parquet"}},
        "label": {"source": "rows", "column": "answer", "positive": "yes"},
        "features": {"service": "made", "columns": columns},
    }
    return Project.model_validate(plain | sections)


def evidence(
    folder: Path,
    *,
    snapshot_hash: str = "5" * 64,
    weights_hash: str = "a" * 64,
    promote: bool = True,
    plans: tuple[str, ...] = documents.PLANS,
    named: Project | None = None,
) -> Evidence:
    """Write every artifact of a candidate into ``folder``."""
    named = named or project()
    (folder / "written" / "feature_repo" / "schema").mkdir(parents=True)
    (folder / "written" / "project.yaml").write_text(f"name: {named.name}\n")
    (folder / "written" / "feature_repo" / "schema" / "rows.pbtxt").write_text('feature { name: "usage" }\n')
    made = Evidence(
        project=bundle.write(named, folder / "written" / "project.yaml", folder / "bundles"),
        snapshot=folder / "snapshot",
        statistics=folder / "statistics",
        splits=folder / "splits",
        study=folder / "study",
        model=folder / "model",
        evaluation=folder / "evaluation",
        verdict=folder / "verdict.json",
    )
    documents.snapshot(snapshot_hash).write(made.snapshot)
    documents.findings(plans).write(made.statistics)
    (made.statistics / "rows.pb").write_bytes(b"statistics of " + snapshot_hash.encode())
    documents.split().write(made.splits)
    for document in (documents.study(), documents.trials(), documents.best_hyperparameters()):
        document.write(made.study)
    package(made.model, weights_hash, plans)
    documents.evaluation(plans).write(made.evaluation)
    documents.verdict(promote).write(made.verdict)
    return made


def package(folder: Path, weights_hash: str, plans: tuple[str, ...] = documents.PLANS) -> Path:
    """Write a model package; the registry does not look into the networks."""
    for document in (
        documents.model_facts(plans, weights_hash=weights_hash),
        documents.package_sample(plans),
        documents.training_history(),
    ):
        document.write(folder)
    for name in ("model.keras", "model.onnx", "seen.parquet"):
        (folder / name).write_bytes(f"{name} of {weights_hash}".encode())
    documents.seal(folder)
    return folder


def empty_registry(folder: Path) -> str:
    """Return the address of a fresh registry: a copy of one whose schema was made once, since that takes seconds."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(_template(), folder / "mlflow.db")
    return f"sqlite:///{folder / 'mlflow.db'}"


@functools.cache
def _template() -> Path:
    path = Path(tempfile.mkdtemp(prefix="registry-")) / "mlflow.db"
    registry.open(f"sqlite:///{path}")
    return path
