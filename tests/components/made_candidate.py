"""The artifacts of one candidate as the steps leave them: small, complete, and easy to change in one place."""

import functools
import shutil
import tempfile
from pathlib import Path
from typing import Any

from components.shared import bundle, files, registry
from components.shared.project import Project
from components.shared.registry import Evidence

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
    plans: tuple[str, ...] = ("basic", "plus"),
    named: Project | None = None,
) -> Evidence:
    """Write every artifact of a candidate into ``folder``."""
    named = named or project()
    (folder / "written" / "feature_repo" / "schema").mkdir(parents=True)
    (folder / "written" / "project.yaml").write_text(f"name: {named.name}\n")
    (folder / "written" / "feature_repo" / "schema" / "rows.pbtxt").write_text('feature { name: "usage" }\n')
    found = Evidence(
        project=bundle.write(named, folder / "written" / "project.yaml", folder / "bundles"),
        snapshot=folder / "snapshot",
        statistics=folder / "statistics",
        splits=folder / "splits",
        study=folder / "study",
        model=folder / "model",
        evaluation=folder / "evaluation",
        verdict=folder / "verdict.json",
    )
    time_range = ["2026-01-01T00:00:00+00:00", "2026-06-01T00:00:00+00:00"]
    table = {"rows": 1000, "columns": {"usage": "double"}, "content_hash": "c" * 64, "time_range": time_range}
    files.write_json(found.snapshot / "snapshot.json", {"content_hash": snapshot_hash, "tables": {"rows": table}})
    usage = {"name": "usage", "type": "double", "missing_share": 0.01, "mean": 1.0, "std": 2.0, "min": -1.0, "max": 9.0}
    plan = {"name": "plan", "type": "string", "missing_share": 0.0, "top": [[plans[0], 600]], "unique": len(plans)}
    absent = dict.fromkeys(("mean", "std", "min", "max", "top", "unique"))
    drift = f"Column 'plan' of 'rows' drifted towards {plans[0]!r}: 0.2 from the last accepted snapshot."
    files.write_json(
        found.statistics / "findings.json",
        {
            "blocked": False,
            "findings": [
                {"source": "rows", "column": "plan", "kind": "drift", "reaction": "warn", "sentence": drift},
            ],
            "tables": {"rows": {"rows": 1000, "columns": [absent | usage, absent | plan]}},
        },
    )
    (found.statistics / "rows.pb").write_bytes(b"statistics of " + snapshot_hash.encode())
    parts = {"train": 700, "validation": 150, "test": 150, "left_out": 0}
    ranges = {part: time_range for part in ("train", "validation", "test")}
    split = {"method": "time", "rows": parts, "ranges": ranges, "content_hash": "b" * 64}
    files.write_json(found.splits / "split.json", split)
    _study(found.study)
    package(found.model, weights_hash, plans)
    files.write_json(found.evaluation / "evaluation.json", evaluation(plans))
    rule = {"rule": "beat_rule", "passed": promote, "reason": "auc +0.20, at least +0.15", "phase": "features"}
    rows = {"rule": "min_test_rows", "passed": True, "reason": "150 test rows, 50 are needed", "phase": "data"}
    files.write_json(found.verdict, {"promote": promote, "first_release": True, "rules": [rule, rows]})
    return found


def package(folder: Path, weights_hash: str, plans: tuple[str, ...] = ("basic", "plus")) -> Path:
    """Write a model package; the registry does not look into the networks."""
    features = [{"name": "usage", "type": "numeric", "missing": True}]
    features += [{"name": "plan", "type": "categorical", "missing": False}]
    model = {
        "name": "made", "task": "binary", "label": "answer", "entity": "customer", "event_time": "at",
        "classes": ["no", "yes"], "positive": "yes", "threshold": 0.3, "features": features, "numeric": ["usage"],
        "categorical": ["plan"], "vocabulary": {"plan": list(plans)}, "ranges": {"usage": [-1.0, 9.0]},
        "hyperparameters": {"learning_rate": 0.01, "hidden": "32"}, "seed": 7, "weights_hash": weights_hash,
        "rows": {"train": 700, "validation": 150}, "limits": {"request_rows": 10, "request_mib": 1}, "tolerance": 1e-5,
    }  # fmt: skip
    files.write_json(folder / "model.json", model)
    rows = [{"usage": 1.0, "plan": plans[0]}, {"usage": None, "plan": plans[0]}, {"usage": 9.0, "plan": "unseen"}]
    files.write_json(folder / "sample.json", {"rows": rows, "scores": [0.1, 0.2, 0.3]})
    losses = [{"epoch": n, "train_loss": 0.6 / n, "validation_loss": 0.7 / n} for n in (1, 2, 3)]
    parity = {"max_abs_error": 1e-7, "rows": 100}
    files.write_json(
        folder / "training.json", {"history": losses, "best_epoch": 3, "duration_s": 1.0, "parity": parity}
    )
    for name in ("model.keras", "model.onnx", "seen.parquet"):
        (folder / name).write_bytes(f"{name} of {weights_hash}".encode())
    digests = {path.name: files.sha256(path) for path in sorted(folder.iterdir())}
    files.write_json(folder / "manifest.json", {"files": digests})
    return folder


def evaluation(plans: tuple[str, ...] = ("basic", "plus")) -> dict[str, Any]:
    """Return what the evaluation of a binary candidate says."""
    rates = {"rows": 75, "selection_rate": 0.4, "true_positive_rate": 0.8, "false_positive_rate": 0.2}
    part = {"where": {"plan": plans[0]}, "rows": 75, "metric": 0.7, "low": 0.6, "high": 0.8, "difference": -0.1}
    difference = {"metric": "auc", "difference": 0.2, "low": 0.15, "high": 0.25}
    return {
        "task": "binary",
        "rows": {"test": 150, "excluded_seen": 0},
        "primary": "auc",
        "higher_is_better": True,
        "confidence": 0.95,
        "metrics": {
            "auc": {"value": 0.8123, "low": 0.7654, "high": 0.8591},
            "log_loss": {"value": 0.45, "low": 0.4, "high": 0.5},
        },
        "baselines": {"rule": {"auc": 0.61, "log_loss": 0.6}, "plain": {"auc": 0.79}, "champion": None},
        "descriptions": {"rule": f"plan is {plans[0]}", "plain": "logistic regression"},
        "comparisons": {"rule": difference, "plain": difference | {"low": -0.01}, "champion": None},
        "threshold": 0.3,
        "calibration": {
            "bins": [
                {"mean_score": 0.1, "share_positive": 0.12, "rows": 75},
                {"mean_score": 0.8, "share_positive": 0.7, "rows": 75},
            ],
            "ece": 0.03,
            "brier": 0.15,
        },
        "confusion": {"labels": ["no", "yes"], "matrix": [[80, 20], [10, 40]]},
        "roc": {"fpr": [0.0, 0.2, 1.0], "tpr": [0.0, 0.8, 1.0], "thresholds": [None, 0.3, 0.0]},
        "slices": [part],
        "worst": part,
        "fairness": [
            {
                "column": "plan",
                "groups": {plan: rates for plan in plans},
                "demographic_parity_difference": 0.1,
                "equalized_odds_difference": 0.05,
            }
        ],
        "robustness": [
            {"perturbation": "noise", "level": 0.1, "metric": 0.8, "drop": 0.012},
            {"perturbation": "shuffled column", "level": "usage", "metric": 0.6, "drop": 0.212},
        ],
        "value": {
            "currency": "EUR", "total": 3200.0, "per_1000": 21333.0, "ceiling": 4000.0, "true_positives": 40,
            "false_positives": 20, "break_even_precision": 0.333, "break_even_fpr": 0.0162, "champion_total": None,
            "curve": [{"threshold": 0.1, "value": 100.0}, {"threshold": 0.3, "value": 3200.0}],
        },
        "cost": {"latency_ms_p50": 0.05, "latency_ms_p99": 0.09, "size_mib": 0.01, "memory_mib": 55.0},
    }  # fmt: skip


def _study(folder: Path) -> None:
    states = ("complete", "complete", "pruned")
    trials = [
        {"number": n, "state": state, "params": {"learning_rate": 0.01 * (n + 1)}, "intermediate": [0.7, 0.75],
         "value": 0.8 + n / 100 if state == "complete" else None, "duration_s": 0.5}
        for n, state in enumerate(states)
    ]  # fmt: skip
    files.write_json(folder / "trials.json", trials)
    files.write_json(folder / "best.json", {"learning_rate": 0.02, "hidden": "32"})
    study = {"sampler": "tpe", "pruner": "median", "trials": 3, "complete": 2, "pruned": 1, "failed": 0, "resumed": 0}
    found = {"best_value": 0.81, "metric": "auc", "direction": "maximize", "importance": {"learning_rate": 1.0}}
    files.write_json(folder / "study.json", study | found)


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
