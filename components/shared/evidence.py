"""What one candidate showed, read from its artifacts and logged as one run of the registry.

Promoted and rejected candidates are logged alike: the next run needs the statistics of both, since both had data that
passed validation, and a person wants to compare them.
"""

import contextlib
import hashlib
import re
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.shared import bundle, files, registry
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
    snapshot: Mapping[str, Any]
    statistics: Mapping[str, Any]
    split: Mapping[str, Any]
    study: Mapping[str, Any]
    best: Mapping[str, Any]
    model: Mapping[str, Any]
    training: Mapping[str, Any]
    evaluation: Mapping[str, Any]
    verdict: Mapping[str, Any]
    code: Mapping[str, str]
    fingerprint: str

    @classmethod
    def read(cls, evidence: Evidence, code: Mapping[str, str]) -> "Candidate":
        """Read every document that the steps wrote."""
        snapshot = files.read_json(evidence.snapshot / "snapshot.json")
        model = files.read_json(evidence.model / "model.json")
        return cls(
            project=bundle.project(str(evidence.project)),
            snapshot=snapshot,
            statistics=files.read_json(evidence.statistics / "findings.json"),
            split=files.read_json(evidence.splits / "split.json"),
            study=files.read_json(evidence.study / "study.json"),
            best=files.read_json(evidence.study / "best.json"),
            model=model,
            training=files.read_json(evidence.model / "training.json"),
            evaluation=files.read_json(evidence.evaluation / "evaluation.json"),
            verdict=files.read_json(evidence.verdict),
            code=dict(code),
            fingerprint=fingerprint(evidence.project, snapshot["content_hash"], model["weights_hash"], code),
        )

    @property
    def locks(self) -> dict[str, str]:
        """Hash of what was installed, by step."""
        return {key.removeprefix(_LOCK): digest for key, digest in self.code.items() if key.startswith(_LOCK)}


def fingerprint(project_bundle: Path, snapshot_hash: str, weights_hash: str, code: Mapping[str, str]) -> str:
    """Name a candidate by what made it: data, project, installed packages and the weights that came out.

    The code's commit is not part of it: an edit that changes nothing in the model makes no new version.
    """
    digest = hashlib.sha256(f"{snapshot_hash}\0{weights_hash}\0".encode())
    with zipfile.ZipFile(project_bundle) as archive:
        for name in sorted(archive.namelist()):
            digest.update(f"{name}\0{hashlib.sha256(archive.read(name)).hexdigest()}\0".encode())
    for key in sorted(key for key in code if key.startswith(_LOCK)):
        digest.update(f"{key}\0{code[key]}\0".encode())
    return digest.hexdigest()


def start_run(client: "MlflowClient", registry_uri: str, candidate: Candidate, outcome: str) -> str:
    """Start the run of a candidate, ``promoted`` or ``rejected``; nothing counts until ``finish_run``."""
    tags = {
        OUTCOME: outcome,
        registry.FINGERPRINT: candidate.fingerprint,
        registry.SNAPSHOT: candidate.snapshot["content_hash"],
        COMMIT: candidate.code.get("commit", "unknown"),
        "perennial.code_dirty": candidate.code.get("dirty", "unknown"),
        "perennial.weights_hash": candidate.model["weights_hash"],
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
        client.log_dict(run_id, dict(candidate.snapshot), "snapshot.json")
        client.log_dict(run_id, dict(candidate.split), "split.json")
        client.log_dict(run_id, dict(candidate.verdict), "verdict.json")
        client.log_dict(run_id, dict(candidate.code), "code.json")
        bundle.extract(str(evidence.project), Path(folder))
        client.log_artifacts(run_id, folder, "project")


@contextlib.contextmanager
def _stored(client: "MlflowClient", run_id: str) -> Iterator[None]:
    """Turn a bucket's refusal into one sentence; its client is there only where artifacts go to a bucket."""
    try:
        yield
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in ("boto3", "botocore"):
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
    chosen: dict[str, Any] = {
        "task": project.task,
        "label": project.label.column,
        "features": len(project.features.columns),
        "seed": candidate.model["seed"],
        "snapshot_hash": candidate.snapshot["content_hash"],
        "split.method": split["method"],
        **{f"split.rows.{part}": rows for part, rows in split["rows"].items()},
        **{f"tuning.{key}": candidate.study.get(key) for key in ("sampler", "pruner", "trials")},
        **candidate.model["hyperparameters"],
    }
    return {_key(name): str(value)[:_VALUE_LENGTH] for name, value in chosen.items() if value is not None}


def metrics(evaluation: Mapping[str, Any]) -> dict[str, float]:
    """Name what was measured on test rows, each metric with the bounds of its interval."""
    found: dict[str, Any] = {}
    for name, metric in evaluation["metrics"].items():
        found |= {f"test.{name}{end}": metric[key] for end, key in (("", "value"), (".low", "low"), (".high", "high"))}
    for baseline, values in evaluation["baselines"].items():
        found |= {f"{baseline}.{name}": value for name, value in (values or {}).items()}
    for baseline, compared in evaluation["comparisons"].items():
        found |= {f"against_{baseline}.{key}": (compared or {}).get(key) for key in ("difference", "low", "high")}
    for section in ("calibration", "value", "cost"):
        found |= {f"{section}.{name}": value for name, value in (evaluation.get(section) or {}).items()}
    worst = evaluation.get("worst") or {}
    found |= {f"worst_slice.{key}": worst.get(key) for key in ("metric", "difference", "rows")}
    for fair in evaluation.get("fairness") or ():
        for gap in ("demographic_parity_difference", "equalized_odds_difference"):
            found[f"fairness.{fair['column']}.{gap}"] = fair[gap]
    for test in evaluation.get("robustness") or ():
        found[f"robustness.{test['perturbation']}.{test['level']}.drop"] = test["drop"]
    return {_key(name): float(value) for name, value in found.items() if isinstance(value, int | float)}


def _key(name: str) -> str:
    return re.sub(r"[^\w.\- ]", "_", name)[:250]
