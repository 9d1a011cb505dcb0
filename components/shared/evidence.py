"""What one candidate showed, read from its artifacts and logged as one run of the registry.

Promoted and rejected candidates are logged alike: the next run needs the statistics of both, since both had data that
passed validation, and a person wants to compare them.
"""

import contextlib
import hashlib
import json
import re
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.shared import bundle, registry
from components.shared.documents.evaluation import EvaluationReport
from components.shared.documents.findings import ValidationFindings
from components.shared.documents.model_facts import ModelFacts
from components.shared.documents.snapshot import SnapshotDescription
from components.shared.documents.split import SplitSummary
from components.shared.documents.study import StudySummary
from components.shared.documents.verdict import Verdict
from components.shared.errors import StepFailed
from components.shared.project import Project
from components.shared.registry import Evidence

if TYPE_CHECKING:
    from mlflow import MlflowClient

OUTCOME = "perennial.outcome"
COMMIT = "perennial.code_commit"
_LOCK = "lock:"
# MLflow's own bounds.
_PARAMS_PER_CALL = 100
_METRICS_PER_CALL = 1000
_VALUE_LENGTH = 6000


@dataclass(frozen=True)
class Candidate:
    """The documents of one candidate, parsed."""

    project: Project
    snapshot: SnapshotDescription
    validation: ValidationFindings
    split: SplitSummary
    study: StudySummary
    model: ModelFacts
    evaluation: EvaluationReport
    verdict: Verdict
    code: Mapping[str, str]
    fingerprint: str

    @classmethod
    def read(cls, evidence: Evidence, code: Mapping[str, str]) -> "Candidate":
        """Read every document that the steps wrote."""
        snapshot = SnapshotDescription.read(evidence.snapshot)
        model = ModelFacts.read(evidence.model)
        return cls(
            project=bundle.project(str(evidence.project)),
            snapshot=snapshot,
            validation=ValidationFindings.read(evidence.statistics),
            split=SplitSummary.read(evidence.splits),
            study=StudySummary.read(evidence.study),
            model=model,
            evaluation=EvaluationReport.read(evidence.evaluation),
            verdict=Verdict.read(evidence.verdict),
            code=dict(code),
            fingerprint=fingerprint(evidence.project, snapshot.content_hash, model.weights_hash, code),
        )

    @property
    def locks(self) -> dict[str, str]:
        """Hash of what was installed, by step."""
        return {key.removeprefix(_LOCK): digest for key, digest in self.code.items() if key.startswith(_LOCK)}


def fingerprint(project_bundle: Path, snapshot_hash: str, weights_hash: str, code: Mapping[str, str]) -> str:
    """Name a candidate by what made it: data, project, installed packages and the weights that came out.

    The code's commit, comments in the project file and settings that reach neither the model nor its server are not
    part of it: an edit that changes nothing makes no new version.
    """
    digest = hashlib.sha256(f"{snapshot_hash}\0{weights_hash}\0".encode())
    digest.update(json.dumps(bundle.project(str(project_bundle)).of_the_model, sort_keys=True).encode())
    with zipfile.ZipFile(project_bundle) as archive:
        for name in sorted(name for name in archive.namelist() if name.startswith(bundle.FEATURE_REPO)):
            digest.update(f"{name}\0{hashlib.sha256(archive.read(name)).hexdigest()}\0".encode())
    for key in sorted(key for key in code if key.startswith(_LOCK)):
        digest.update(f"{key}\0{code[key]}\0".encode())
    return digest.hexdigest()


def start_run(client: "MlflowClient", registry_uri: str, candidate: Candidate, outcome: str) -> str:
    """Start the run of a candidate, ``promoted`` or ``rejected``; nothing counts until ``finish_run``."""
    tags = {
        OUTCOME: outcome,
        registry.FINGERPRINT: candidate.fingerprint,
        registry.SNAPSHOT: candidate.snapshot.content_hash,
        COMMIT: candidate.code.get("commit", "unknown"),
        "perennial.code_dirty": candidate.code.get("dirty", "unknown"),
        "perennial.weights_hash": candidate.model.weights_hash,
    }
    tags |= {f"lock.{step}": digest for step, digest in candidate.locks.items()}
    experiment = registry.experiment(client, registry_uri, candidate.project.name)
    run = client.create_run(experiment, tags=tags, run_name=f"{outcome}-{candidate.fingerprint[:8]}")
    return str(run.info.run_id)


def log(client: "MlflowClient", run_id: str, evidence: Evidence, candidate: Candidate) -> None:
    """Write parameters, metrics and the documents of a candidate into its run.

    Raises:
        StepFailed: If the registry's bucket refuses.
    """
    from mlflow.entities import Metric, Param

    now_ms = int(client.get_run(run_id).info.start_time)
    named = [Param(name, value) for name, value in parameters(candidate).items()]
    for first in range(0, len(named), _PARAMS_PER_CALL):
        client.log_batch(run_id, params=named[first : first + _PARAMS_PER_CALL])
    measured = [Metric(name, value, now_ms, 0) for name, value in metrics(candidate.evaluation).items()]
    for first in range(0, len(measured), _METRICS_PER_CALL):
        client.log_batch(run_id, metrics=measured[first : first + _METRICS_PER_CALL])
    with _stored(client, run_id), tempfile.TemporaryDirectory() as folder:
        for name in ("statistics", "evaluation", "study"):
            client.log_artifacts(run_id, str(evidence.paths[name]), name)
        for document in (candidate.snapshot, candidate.split, candidate.verdict):
            client.log_dict(run_id, document.as_json(), document.FILE)
        client.log_dict(run_id, dict(candidate.code), "code.json")
        bundle.extract(str(evidence.project), Path(folder))
        client.log_artifacts(run_id, folder, "project")


@contextlib.contextmanager
def _stored(client: "MlflowClient", run_id: str) -> Iterator[None]:
    """Turn a bucket's refusal into one sentence."""
    try:
        yield
    except Exception as error:
        if not registry.is_bucket_error(error):
            raise
        reason = " ".join(str(error).split()).rpartition("An error occurred ")[2][:300].rstrip(".")
        raise StepFailed(
            f"The registry's artifacts go to {client.get_run(run_id).info.artifact_uri}, which does not take them "
            f"({reason}); check the bucket, its address (MLFLOW_S3_ENDPOINT_URL) and the credentials."
        ) from error


def finish_run(client: "MlflowClient", run_id: str) -> None:
    """Let a run count: its data was accepted, and its statistics are what the next data is compared with."""
    client.set_tag(run_id, registry.ACCEPTED, "true")
    client.set_terminated(run_id, "FINISHED")


def parameters(candidate: Candidate) -> dict[str, str]:
    """Name what was chosen before and during training, as MLflow's parameters (texts)."""
    project, split = candidate.project, candidate.split
    chosen: dict[str, object] = {
        "task": project.task,
        "label": project.label.column,
        "features": len(project.features.columns),
        "seed": candidate.model.seed,
        "family": candidate.model.family,
        "evaluation.primary": candidate.evaluation.primary,
        "snapshot_hash": candidate.snapshot.content_hash,
        "split.method": split.method,
        **{f"split.rows.{part}": rows for part, rows in split.rows},
        "tuning.sampler": candidate.study.sampler,
        "tuning.pruner": candidate.study.pruner,
        "tuning.trials": candidate.study.trials,
        **candidate.model.hyperparameters,
    }
    return {_key(name): str(value)[:_VALUE_LENGTH] for name, value in chosen.items() if value is not None}


def metrics(evaluation: EvaluationReport) -> dict[str, float]:
    """Name what was measured on test rows, each metric with the bounds of its interval; the undefined are left out."""
    named: dict[str, float | None] = {}
    for name, metric in evaluation.metrics.items():
        named |= {f"test.{name}": metric.value, f"test.{name}.low": metric.low, f"test.{name}.high": metric.high}
    for baseline, values in evaluation.baselines.present.items():
        named |= {f"{baseline}.{name}": value for name, value in values.items()}
    for baseline, compared in evaluation.comparisons.present.items():
        bounds = {"difference": compared.difference, "low": compared.low, "high": compared.high}
        named |= {f"against_{baseline}.{name}": value for name, value in bounds.items()}
    if evaluation.calibration is not None:
        named |= {"calibration.ece": evaluation.calibration.ece, "calibration.brier": evaluation.calibration.brier}
    for section, part in (("value", evaluation.value), ("cost", evaluation.cost)):
        named |= {f"{section}.{name}": value for name, value in part or () if isinstance(value, int | float)}
    if evaluation.worst is not None:
        named["worst_slice.metric"] = evaluation.worst.metric
        named["worst_slice.difference"] = evaluation.worst.difference
        named["worst_slice.rows"] = evaluation.worst.rows
    for column in evaluation.fairness:
        prefix = f"fairness.{column.column}"
        named[f"{prefix}.demographic_parity_difference"] = column.demographic_parity_difference
        named[f"{prefix}.equalized_odds_difference"] = column.equalized_odds_difference
    for test in evaluation.robustness:
        named[f"robustness.{test.perturbation}.{test.level}.drop"] = test.drop
    return {_key(name): float(value) for name, value in named.items() if value is not None}


def _key(name: str) -> str:
    return re.sub(r"[^\w.\- ]", "_", name)[:250]
