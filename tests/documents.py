"""One sample of every document, as the steps write them; a test names only the fields that it is about."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components.shared import files
from components.shared.documents.accepted import AcceptedRecord
from components.shared.documents.batch_scores import BatchScores, ScoredPart
from components.shared.documents.best_hyperparameters import BestHyperparameters
from components.shared.documents.champion import ChampionRecord
from components.shared.documents.data_quality import DataQuality, QualityFinding
from components.shared.documents.document import Document
from components.shared.documents.evaluation import EvaluationReport
from components.shared.documents.feature_views import FeatureViews
from components.shared.documents.findings import ValidationFindings
from components.shared.documents.measurements import (
    Comparison,
    Cost,
    Coverage,
    FairnessColumn,
    Metric,
    SliceMeasure,
    ValueReport,
)
from components.shared.documents.model_facts import ModelFacts
from components.shared.documents.monitoring import (
    ColumnDrift,
    DriftReport,
    Estimate,
    LoggedRow,
    LogWindow,
    MonitoringDecision,
    PerformanceReport,
    Period,
    SegmentLoss,
    WatchedMetric,
)
from components.shared.documents.package_manifest import PackageManifest
from components.shared.documents.package_reference import PackageReference
from components.shared.documents.package_sample import PackageSample
from components.shared.documents.preprocessing import PackagePreprocessing
from components.shared.documents.release import RegisteredVersion
from components.shared.documents.skew import DifferenceQuantiles, FeatureSkew, SkewCause, SkewReport
from components.shared.documents.snapshot import SnapshotDescription
from components.shared.documents.split import SplitSummary
from components.shared.documents.start import StartRecord
from components.shared.documents.study import StudySummary
from components.shared.documents.tfx_evaluation import TfxEvaluation
from components.shared.documents.tfx_inputs import TfxInputs
from components.shared.documents.traffic_counts import ShadowCounts, TrafficCounts, VersionCounts
from components.shared.documents.training_history import TrainingHistory
from components.shared.documents.training_set import TrainingSetSummary
from components.shared.documents.trials import Trials
from components.shared.documents.verdict import Verdict
from components.shared.project import Project, Training

PLANS = ("basic", "plus")
SPAN = ("2026-01-01T00:00:00+00:00", "2026-06-01T00:00:00+00:00")
PROJECT = Project.model_validate(
    {
        "name": "made", "task": "binary", "entity": "customer", "event_time": "at",
        "sources": {"rows": {"path": "rows.parquet"}}, "label": {"source": "rows", "column": "answer"},
        "features": {"service": "made", "columns": {"usage": {"type": "numeric"}}},
    }
)  # fmt: skip
HYPERPARAMETERS = {"learning_rate": 0.02, "hidden": "32"}


def metric(value: float | None, half: float = 0.02) -> Metric:
    """Return a metric whose interval reaches ``half`` to both sides."""
    low, high = (None, None) if value is None else (value - half, value + half)
    return Metric(value=value, low=low, high=high)


def comparison(difference: float, half: float = 0.05, **changes: Any) -> Comparison:
    """Return a comparison whose interval reaches ``half`` to both sides."""
    sample = {"metric": "auc", "difference": difference, "low": difference - half, "high": difference + half}
    return Comparison(**(sample | changes))


def slice_measure(difference: float = -0.1, half: float = 0.01, plan: str = PLANS[0], **changes: Any) -> SliceMeasure:
    """Return a slice that differs from all rows."""
    sample = {
        "where": {"plan": plan}, "rows": 75, "metric": 0.7, "low": 0.6, "high": 0.8, "plain": 0.69,
        "difference": difference, "difference_low": difference - half, "difference_high": difference + half,
    }  # fmt: skip
    return SliceMeasure(**(sample | changes))


def fairness(plans: Sequence[str] = PLANS, **changes: Any) -> FairnessColumn:
    """Return the comparison of the groups of one column."""
    rates = {"rows": 75, "selection_rate": 0.4, "true_positive_rate": 0.8, "false_positive_rate": 0.2}
    sample = {
        "column": "plan",
        "positive": "yes",
        "groups": dict.fromkeys(plans, rates),
        "small_groups": {},
        "demographic_parity_difference": 0.1,
        "equalized_odds_difference": 0.05,
    }
    return FairnessColumn(**(sample | changes))


def value(**changes: Any) -> ValueReport:
    """Return what the decisions are worth."""
    sample = {
        "currency": "EUR", "total": 3200.0, "per_1000": 21333.0, "ceiling": 4000.0, "true_positives": 40,
        "false_positives": 20, "false_negatives": 10, "kept": 20.0, "break_even_precision": 0.333,
        "break_even_fpr": 0.0162, "champion_total": None,
        "curve": ({"threshold": 0.3, "value": 3200.0}, {"threshold": 0.1, "value": 100.0}),
    }  # fmt: skip
    return ValueReport(**(sample | changes))


def coverage(**changes: Any) -> Coverage:
    """Return what sets of classes that are made to hold nine tenths of the labels held."""
    sample = {
        "level": 0.9, "held": metric(0.894, half=0.01), "expected_low": 0.87, "mean_size": 1.25, "single": 0.75,
        "by_part": {"no": 0.951, "yes": 0.702},
    }  # fmt: skip
    return Coverage(**(sample | changes))


def cost(**changes: Any) -> Cost:
    """Return what an answer costs."""
    return Cost(**({"latency_ms_p50": 0.05, "latency_ms_p99": 0.09, "size_mib": 0.01, "memory_mib": 55.0} | changes))


def evaluation(plans: Sequence[str] = PLANS, **changes: Any) -> EvaluationReport:
    """Return the evaluation of a binary candidate before the first release."""
    part = slice_measure(plan=plans[0])
    worst = dict(part) | {"searched": 7, "p_adjusted": 0.01, "beyond_chance": True, "remark": "Worse beyond chance."}
    sample: dict[str, Any] = {
        "task": "binary",
        "rows": {"test": 150, "excluded_seen": 0, "excluded_by_split": 0, "excluded_by_champion": 0},
        "resampled": "entity",
        "resamples": 500,
        "confidence": 0.95,
        "primary": "auc",
        "higher_is_better": True,
        "metrics": {
            "auc": {"value": 0.8123, "low": 0.7654, "high": 0.8591},
            "log_loss": {"value": 0.45, "low": 0.4, "high": 0.5},
            "selection_rate": {"value": 0.4, "low": 0.35, "high": 0.45},
        },
        "directions": {"auc": True, "log_loss": False, "selection_rate": None},
        "baselines": {"rule": {"auc": 0.61, "log_loss": 0.6}, "plain": {"auc": 0.79}, "champion": None},
        "comparisons": {
            "rule": comparison(0.2),
            "plain": comparison(0.2, low=-0.01),
            "champion": None,
        },
        "descriptions": {"rule": f"plan is {plans[0]}", "plain": "logistic regression"},
        "champion": {"version": None, "compared": False, "reason": None},
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
        "roc": {"fpr": [0.0, 0.2, 1.0], "tpr": [0.0, 0.8, 1.0], "thresholds": [0.9, 0.3, 0.0]},
        "slices": (part,),
        "worst": worst,
        "fairness": (fairness(plans),),
        "robustness": (
            {"perturbation": "noise", "level": 0.1, "metric": 0.8, "drop": 0.012},
            {"perturbation": "shuffled column", "level": "usage", "metric": 0.6, "drop": 0.212},
        ),
        "value": value(),
        "cost": cost(),
    }
    return EvaluationReport(**(sample | changes))


def model_facts(plans: Sequence[str] = PLANS, **changes: Any) -> ModelFacts:
    """Return the facts about a binary model of one number and one category."""
    sample = {
        "name": "made", "task": "binary", "label": "answer", "entity": "customer", "event_time": "at",
        "classes": ("no", "yes"), "positive": "yes", "threshold": 0.3,
        "features": (
            {"name": "usage", "type": "numeric", "missing": True},
            {"name": "plan", "type": "categorical", "missing": False},
        ),
        "numeric": ("usage",), "categorical": ("plan",), "vocabulary": {"plan": tuple(plans)},
        "ranges": {"usage": (-1.0, 9.0)}, "hyperparameters": HYPERPARAMETERS, "seed": 7, "weights_hash": "a" * 64,
        "rows": {"train": 700, "validation": 150}, "limits": {"request_rows": 10, "request_mib": 1}, "tolerance": 1e-5,
    }  # fmt: skip
    return ModelFacts(**(sample | changes))


def feature_views(**changes: Any) -> FeatureViews:
    """Return two views, one of which is valid for a week."""
    views = (
        {"name": "use", "features": ("usage",), "ttl_s": 7 * 86400.0},
        {"name": "contract", "features": ("plan",), "ttl_s": 0.0},
    )
    return FeatureViews(**({"join_key": "customer", "entity_type": "text", "views": views} | changes))


def package_sample(plans: Sequence[str] = PLANS, **changes: Any) -> PackageSample:
    """Return three rows with their scores."""
    rows = ({"usage": 1.0, "plan": plans[0]}, {"usage": None, "plan": plans[0]}, {"usage": 9.0, "plan": "unseen"})
    return PackageSample(**({"rows": rows, "scores": (0.1, 0.2, 0.3)} | changes))


def package_reference(**changes: Any) -> PackageReference:
    """Return two rows of a model of one number and one category."""
    sample = {"numeric": ((1.0,), (None,)), "categorical": (("basic",), ("plus",))}
    return PackageReference(**(sample | changes))


def package_preprocessing(**changes: Any) -> PackagePreprocessing:
    """Return that of a blend of a network and trees."""
    sample = {
        "label_mean": 0.0,
        "label_scale": 1.0,
        "members": {
            "network": {
                "kind": "network", "weights": "network.keras", "vocabulary": (PLANS,), "hidden": (8,), "embedding": 4,
                "dropout": 0.3,
                "numbers": {
                    "low": (-1.0,), "high": (9.0,), "median": (1.0,), "mean": (1.5,), "scale": (2.0,),
                    "bucket_feature": (0,), "bucket_low": (-1.0,), "bucket_width": (10.0,), "gaps": (0,),
                },
            },
            "trees": {
                "kind": "trees", "weights": "trees.txt", "vocabulary": (PLANS,), "codes": ((2, 2, 3),), "unknown": (2,),
                "monotone": (1,),
            },
        },
    }  # fmt: skip
    return PackagePreprocessing(**(sample | changes))


def training_history(**changes: Any) -> TrainingHistory:
    """Return a training of three epochs."""
    sample = {
        "history": [{"epoch": n, "train_loss": 0.6 / n, "validation_loss": 0.7 / n} for n in (1, 2, 3)],
        "best_epoch": 3,
        "best_loss": 0.7 / 3,
        "duration_s": 1.0,
        "parity": {"max_abs_error": 1e-7, "rows": 100},
        "families": {"network": 0.7 / 3, "plain": 0.25},
    }
    return TrainingHistory(**(sample | changes))


def seal(package: Path) -> None:
    """Write the manifest over whatever a package holds."""
    names = (path.name for path in package.iterdir() if path.name != PackageManifest.FILE)
    PackageManifest(files={name: files.sha256(package / name) for name in names}).write(package)


def snapshot(content_hash: str = "5" * 64, **changes: Any) -> SnapshotDescription:
    """Return a snapshot of one table."""
    table = {"rows": 1000, "columns": {"usage": "DOUBLE"}, "content_hash": "c" * 64, "time_range": SPAN}
    return SnapshotDescription(**({"content_hash": content_hash, "tables": {"rows": table}} | changes))


def findings(plans: Sequence[str] = PLANS, **changes: Any) -> ValidationFindings:
    """Return one finding that does not stop a run."""
    usage = {"name": "usage", "type": "DOUBLE", "missing_share": 0.01, "mean": 1.0, "std": 2.0, "min": -1.0, "max": 9.0}
    plan = {"name": "plan", "type": "VARCHAR", "missing_share": 0.0, "top": [[plans[0], 600]], "unique": len(plans)}
    absent = dict.fromkeys(("mean", "std", "min", "max", "top", "unique"))
    drift = f"Column 'plan' of 'rows' drifted towards {plans[0]!r}: 0.2 from the last accepted snapshot."
    evidence = {
        "signal": "input drift", "statistic": "Jensen-Shannon distance", "value": 0.2, "threshold": 0.1,
        "p_value": None, "effect": f"the share of {plans[0]!r} went from 50.0% to 75.0%", "is_within_snapshot": False,
        "reference": {"rows": 800, "start": SPAN[0], "end": SPAN[1]},
        "current": {"rows": 200, "start": None, "end": None},
    }  # fmt: skip
    finding = {"source": "rows", "column": "plan", "kind": "drift", "reaction": "warn", "sentence": drift}
    sample = {
        "blocked": False,
        "findings": (finding | {"drift": evidence},),
        "tables": {"rows": {"rows": 1000, "columns": (absent | usage, absent | plan)}},
        "comparisons": {"rows": "200 rows newer than the last accepted snapshot."},
    }
    return ValidationFindings(**(sample | changes))


def training_set(**changes: Any) -> TrainingSetSummary:
    """Return the summary of a thousand examples."""
    sample = {
        "rows": 1000, "left_out_young": 20, "left_out_missing": 0, "duplicates": 0, "ties": {"usage": 0},
        "as_of": SPAN[1], "features": {"usage": 0.01, "plan": 0.0},
    }  # fmt: skip
    return TrainingSetSummary(**(sample | changes))


def split(**changes: Any) -> SplitSummary:
    """Return a split by time."""
    sample = {
        "method": "time",
        "gap_days": 30,
        "rows": {"train": 700, "validation": 150, "test": 150, "left_out": 0},
        "ranges": dict.fromkeys(("train", "validation", "test"), SPAN),
        "content_hash": "b" * 64,
        "repeated_test_rows": 3,
    }
    return SplitSummary(**(sample | changes))


def study(**changes: Any) -> StudySummary:
    """Return a study of three trials."""
    sample = {
        "sampler": "tpe", "pruner": "median", "trials": 3, "complete": 2, "pruned": 1, "failed": 0, "resumed": 0,
        "best_value": 0.31, "metric": "validation log loss", "direction": "minimize",
        "importance": {"learning_rate": 1.0},
    }  # fmt: skip
    return StudySummary(**(sample | changes))


def trials(**changes: Any) -> Trials:
    """Return the trials of the study: two complete ones and a pruned one."""
    sample = [
        {"number": n, "state": state, "params": {"learning_rate": 0.01 * (n + 1)}, "intermediate": [0.4, 0.35],
         "value": 0.32 - n / 100 if state == "complete" else None, "duration_s": 0.5}
        for n, state in enumerate(("complete", "complete", "pruned"))
    ]  # fmt: skip
    return Trials(**({"trials": sample} | changes))


def best_hyperparameters(**changes: Any) -> BestHyperparameters:
    """Return what the study chose."""
    return BestHyperparameters(hyperparameters=HYPERPARAMETERS | changes)


def verdict(promote: bool = True, **changes: Any) -> Verdict:
    """Return a verdict of two rules, the first of which decides."""
    sample = {
        "promote": promote,
        "first_release": True,
        "rules": (
            {"rule": "rule", "passed": promote, "reason": "auc +0.20, at least +0.15", "phase": "features"},
            {"rule": "test rows", "passed": True, "reason": "150 test rows, 50 are needed", "phase": "data"},
        ),
    }
    return Verdict(**(sample | changes))


def champion(version: str | None = None) -> ChampionRecord:
    """Return the champion before a run."""
    run_id, fingerprint = ("r" * 32, "f" * 64) if version else (None, None)
    return ChampionRecord(version=version, run_id=run_id, fingerprint=fingerprint)


def accepted(run_id: str | None = None) -> AcceptedRecord:
    """Return the last accepted run before a run."""
    return AcceptedRecord(run_id=run_id, snapshot_hash="5" * 64 if run_id else None)


def registered_version(**changes: Any) -> RegisteredVersion:
    """Return the first version of the model."""
    sample = {
        "name": "made", "version": "3", "storage_uri": "file:///m", "run_id": "r", "fingerprint": "f" * 64,
        "unchanged": False, "manifest_sha256": "0" * 64, "registration": "5d2f0c9a7b1e",
    }  # fmt: skip
    return RegisteredVersion(**(sample | changes))


def log_window(**changes: Any) -> LogWindow:
    """Return a window of one release, all of whose due rows have a label."""
    sample = {
        "model": "made", "task": "binary", "start": "2026-05-25T00:00:00+00:00", "end": "2026-06-01T00:00:00+00:00",
        "rows": 1200, "requests": 100, "releases": {"1": 1200}, "release": "1", "delay_days": 30,
        "due_until": "2026-05-02T00:00:00+00:00", "due": 900, "due_labeled": 900, "young_labeled": 0,
        "from_the_future": 0, "labels": {"known": 900, "joined": 900, "revised": 0, "early": 0}, "damaged": (),
    }  # fmt: skip
    return LogWindow(**(sample | changes))


def column_drift(name: str = "usage", **changes: Any) -> ColumnDrift:
    """Return a column that looks like the reference."""
    sample = {
        "column": name, "statistic": "normed Wasserstein", "value": 0.02, "threshold": 0.1, "effect": 0.02,
        "missing_reference": 0.0, "missing": 0.0, "is_drift": False,
    }  # fmt: skip
    return ColumnDrift(**(sample | changes))


def drift_report(**changes: Any) -> DriftReport:
    """Return a report of one column, in which nothing differs."""
    return DriftReport(**({"reference_rows": 1000, "rows": 1200, "columns": (column_drift(),)} | changes))


def data_quality(**changes: Any) -> DataQuality:
    """Return a report in which every input conforms to its schema."""
    return DataQuality(**({"rows": 1200, "columns": 2} | changes))


def quality_finding(**changes: Any) -> QualityFinding:
    """Return a finding that concerns a few requests only."""
    sample = {
        "column": "plan", "share": 0.01, "is_reviewed": True,
        "sentence": "'plan' is not as in the reviewed schema of 'rows': unexpected string values",
    }  # fmt: skip
    return QualityFinding(**(sample | changes))


def performance_report(
    *alarms: str, days: Sequence[str] = ("2026-01-01", "2026-01-05", "2026-03-01"), **changes: Any
) -> PerformanceReport:
    """Return a report over some days, of which some raised an alarm."""
    periods = tuple(
        Period(day=day, rows=100, labeled=100, losses=20, evidence=0.1, alarm=day in alarms) for day in days
    )
    sample = {
        "mode": "direct", "release": "1", "loss": "wrong answers", "rate": 0.25, "reference_rate": 0.2,
        "tolerated": 0.21, "run_length_days": 730, "guarantee": "holds", "periods": periods,
        "metrics": {"auc": metric(0.79)}, "reference": {"auc": 0.81},
    }  # fmt: skip
    return PerformanceReport(**(sample | changes))


def watched_metric(**changes: Any) -> WatchedMetric:
    """Return the value of decisions, which has not fallen."""
    sample = {
        "signal": "value", "name": "EUR gained per 1,000 rows", "metric": metric(2000.0, half=150.0),
        "reference": 2100.0, "evidence": 0.1, "alarm": None, "run_length_days": 2920.0, "guarantee": "holds",
    }  # fmt: skip
    return WatchedMetric(**(sample | changes))


def segment_loss(plan: str, *, alarm: str | None = None, rate: float = 0.25) -> SegmentLoss:
    """Return the losses where the plan is this one."""
    return SegmentLoss(where={"plan": plan}, labeled=500, rate=rate, reference_rate=0.2, tolerated=0.22, alarm=alarm)


def estimate(**changes: Any) -> Estimate:
    """Return an estimate that expects no more wrong answers than before."""
    return Estimate(**({"rows": 500, "outside": 0.0, "loss": metric(0.2)} | changes))


def monitoring_decision(**changes: Any) -> MonitoringDecision:
    """Return the decision that nothing is to be done."""
    signals = ({"name": "loss", "state": "quiet", "sentence": "the loss has not risen"},)
    sample = {"action": "nothing", "reasons": ("the loss has not risen",), "signals": signals}
    return MonitoringDecision(**(sample | changes))


def batch_scores() -> BatchScores:
    """Return a batch of one file."""
    part = ScoredPart(file="part-00000.parquet", rows=3, sha256="0" * 64)
    hashes = {"manifest_sha256": "1" * 64, "rows_sha256": "2" * 64}
    return BatchScores(model="made", version="3", rows=3, parts=(part,), folder="/scores", **hashes)


def traffic_counts() -> TrafficCounts:
    """Return the counts of a champion and a canary."""
    versions = {
        "1": VersionCounts(answered=95, scores=(40, 55)),
        "2": VersionCounts(answered=4, failed=1, scores=(4, 0)),
    }
    return TrafficCounts(server="a", versions=versions, shadows={"2": ShadowCounts(rows=7)}, score_edges=(0.5,))


def tfx_inputs() -> TfxInputs:
    """Return what a TFX pipeline of two classes is made from."""
    return TfxInputs(
        project=PROJECT, hyperparameters=Training(hidden="32"), seed=7, task="binary", classes=PLANS, mean=0.0,
        scale=1.0, baseline=0.5,
    )  # fmt: skip


def tfx_evaluation() -> TfxEvaluation:
    """Return what TFX measured of a model that it did not bless."""
    return TfxEvaluation(
        metrics={"auc": 0.7, "example_count": 300.0}, slices={"plan = basic": {"auc": 0.6}},
        anomalies=("train: plan: unexpected values",), blessed=False, failures=("auc is 0.7",),
    )  # fmt: skip


def skew_report(**fields: Any) -> SkewReport:
    """Return an audit with one feature whose missing values became 0."""
    difference = DifferenceQuantiles(lowest=0.0, q05=0.0, median=0.0, q95=0.0, highest=0.0)
    feature = FeatureSkew(
        feature="usage", view="meter", rows=90, different=0, missing=0, extra=7, stale=2, stale_longest_h=3.5,
        smape=0.0, difference=difference,
        causes=(SkewCause(name="null to 0", rows=7), SkewCause(name="staleness", rows=2)),
        examples=(LoggedRow(request_id="a", row=0),),
    )  # fmt: skip
    content: dict[str, Any] = {
        "model": "made", "start": SPAN[0], "end": None, "rows": 100, "not_sampled": 0, "without_entity": 7,
        "unknown_entity": 2, "after_tables": 1, "from_the_future": 0, "compared": 90, "tables_until": SPAN[1],
        "releases": {"1": 90}, "features": (feature,), "not_logged": ("plan",),
    }  # fmt: skip
    return SkewReport(**(content | fields))


def every() -> list[Document]:
    """Return one sample of each document."""
    manifest = PackageManifest(files={"model.onnx": "0" * 64})
    return [
        evaluation(), model_facts(), package_sample(), package_reference(), training_history(), manifest, snapshot(),
        findings(),
        training_set(), split(), study(), trials(), best_hyperparameters(), verdict(), champion("3"), accepted("r"),
        registered_version(), log_window(), drift_report(), performance_report(), data_quality(),
        monitoring_decision(),
        traffic_counts(), batch_scores(), tfx_inputs(), tfx_evaluation(), skew_report(), package_preprocessing(),
        StartRecord(version="3"), feature_views(),
    ]  # fmt: skip


def change(document: type[Document], path: Path, **fields: Any) -> None:
    """Rewrite a document with other fields; the result must be valid."""
    current = document.read(path)
    document(**(json.loads(current.model_dump_json()) | fields)).write(path)
