"""What the command says at the end of a finished run of each pipeline."""

from pathlib import Path

from components.shared.documents.batch_scores import BatchScores
from components.shared.documents.cadence import Cadence, PolicyCost
from components.shared.documents.materialization import MaterializationSummary
from components.shared.documents.monitoring import MonitoringDecision
from components.shared.documents.release import RegisteredVersion
from components.shared.documents.skew import SkewReport
from components.shared.documents.tfx_evaluation import TfxEvaluation
from components.shared.wording import significant
from pipelines.runs import Run, skew


def finished(run: Run) -> tuple[str, ...]:
    """Say that a run finished."""
    return ("finished",)


def released(run: Run) -> tuple[str, ...]:
    """Say which version a training run released, or that the same version answers already."""
    registered = Path(run.artifacts.get("registration.release", ""))
    has_version = "registration.release" in run.artifacts and RegisteredVersion.at(registered).exists()
    release = RegisteredVersion.read(registered) if has_version else None
    version = f"version {release.version}" if release else "the model"
    if run.repeats:
        return (
            f"nothing to do: {version} was made from the same data, project and code by run {run.repeats}, and the "
            "endpoint serves it.",
        )
    # The record of a run on a cluster has no outputs, but what was registered.
    outcome = run.outputs.get("deployment.Output")
    if outcome == "waiting":
        return (
            f"{version} has passed the gate and is exposed step by step, or waits for an approval: 'perennial serve' "
            "watches it, 'perennial release status' shows it",
        )
    if outcome == "unchanged" or (outcome is None and release is not None and release.unchanged):
        return (f"nothing to do: the candidate is {version}, which answers already.",)
    return (f"released {version}",)


def materialized(run: Run) -> tuple[str, ...]:
    """Say how many rows of each view were written to the online store."""
    folder = run.artifacts.get("materialization.summary")
    if folder is None or not Path(folder).exists():
        return finished(run)
    summary = MaterializationSummary.read(folder)
    rows = (f"{view.view}: {view.written:,} rows written, {view.kept:,} kept as new or newer" for view in summary.views)
    return (f"materialized into {summary.store}", *rows)


def scored(run: Run) -> tuple[str, ...]:
    """Say how many rows were scored, by which version, and where the scores are."""
    path = run.artifacts.get("batch_scoring.scores")
    if path is None or not BatchScores.at(path).exists():
        return finished(run)
    done = BatchScores.read(path)
    files = "1 file" if len(done.parts) == 1 else f"{len(done.parts)} files"
    return (f"{done.rows:,} rows scored by version {done.version}", f"scores  {done.folder} ({files})")


def compared(run: Run) -> tuple[str, ...]:
    """Say how far the logged features are from the offline ones, and why."""
    path = run.artifacts.get("skew_audit.report")
    if path is None or not SkewReport.at(path).exists():
        return finished(run)
    return skew.sentences(SkewReport.read(path))


def trained_by_tfx(run: Run) -> tuple[str, ...]:
    """Say what TFX measured, what its ExampleValidator found, and where the model is."""
    folder = run.artifacts.get("tfx_training.model")
    if folder is None or not TfxEvaluation.at(folder).exists():
        return finished(run)
    measured = TfxEvaluation.read(folder)
    metrics = ", ".join(f"{name} {value:.4g}" for name, value in sorted(measured.metrics.items()))
    return (
        f"TFX blessed the model: {metrics}",
        *(f"ExampleValidator: {anomaly}" for anomaly in measured.anomalies),
        f"model   {folder}/saved_model",
    )


def recommended(run: Run) -> tuple[str, ...]:
    """Say when to retrain, and what that saves."""
    path = run.artifacts.get("cadence.recommendation")
    if path is None or not Cadence.at(path).exists():
        return finished(run)
    document = Cadence.read(path)
    chosen, span = document.chosen, f"from {document.start[:10]} to {document.end[:10]}"
    if document.training_cost == 0:
        remark = "a training costs nothing by the project file; name what it costs you: 'retraining: {cost: ...}'"
        return (remark, *_recommended(document, chosen, span))
    return _recommended(document, chosen, span)


def _recommended(document: Cadence, chosen: PolicyCost, span: str) -> tuple[str, ...]:
    if chosen.kind == "never":
        return (f"retraining would not have paid, {span}, not even on alarms: look at what an alarm shows first",)
    if chosen.kind == "alarm":
        return (f"retrain on alarms, as 'perennial loop' does: no schedule would have cost less beyond chance, {span}",)
    setting = f"; set 'retraining: {{every_days: {chosen.every_days:g}}}'"
    saved, low, high = map(significant, (chosen.saved, chosen.saved_low, chosen.saved_high))
    return (
        f"retrain {chosen.name}{setting}: {span} that would have cost {saved} {document.unit} less per 30 days than "
        f"never (95 % interval {low} to {high}), with {chosen.trainings} trainings; nothing could have saved more than "
        f"{significant(document.hindsight.saved)}",
    )


def looped(run: Run) -> tuple[str, ...]:
    """Say what monitoring decided and, if that was to retrain, what came of it."""
    states = {step.name: step.state for step in run.steps}
    trained = released(run) if states.get("deployment") in ("done", "cached") else ()
    return (*decided(run), *trained)


def decided(run: Run) -> tuple[str, ...]:
    """Say what monitoring advises, and why."""
    path = run.artifacts.get("decision.outcome")
    if path is None or not Path(path).exists():
        return finished(run)
    decision = MonitoringDecision.read(path)
    return (decision.action, *(f"- {reason}" for reason in decision.reasons))
