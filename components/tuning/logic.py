"""Search for the hyperparameters with the lowest validation loss."""

import logging
from pathlib import Path

import optuna
from optuna.trial import TrialState

from components.shared import files
from components.shared.documents.best_hyperparameters import BestHyperparameters
from components.shared.documents.model_facts import Hyperparameter
from components.shared.documents.split import SplitSummary
from components.shared.documents.study import StudySummary
from components.shared.documents.trials import TrialEnd, TrialOutcome, Trials
from components.shared.errors import StepFailed
from components.shared.project import TUNABLE, Project
from components.tuning import search, space
from components.tuning.storage import exclusive
from components.tuning.task import StudyTask

log = logging.getLogger(__name__)
_METRIC = {"binary": "log loss", "multiclass": "log loss", "regression": "squared error of the standardised label"}
# PED-ANOVA compares the best quarter of the trials with all of them; of fewer trials it is noise.
_MIN_TRIALS_FOR_IMPORTANCE = 24
_STATES: dict[TrialState, TrialEnd] = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "fail",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}
_SHARED = Path(__file__).parents[1] / "shared"
# The source code that a trial's result depends on.
_LEARNING_SOURCE = (_SHARED / "inputs", _SHARED / "learning")


def tune(project: Project, splits: Path, seed: int, study_storage: str, out: Path) -> dict[str, Hyperparameter]:
    """Run or resume the study of these rows, and write its results.

    Args:
        project: The project; with ``trials: 0`` or without networks, its fixed hyperparameters are the result.
        splits: Folder with ``train.parquet`` and ``validation.parquet``.
        seed: Seed of the sampler and of the initial weights of each trial.
        study_storage: A folder for journals, or a database URL; finished trials in it are not repeated.
        out: Folder for ``best.json``, ``trials.json`` and ``study.json``.

    Returns:
        The best hyperparameters and their validation loss.

    Raises:
        InputError: If the search space is invalid, or no model can be trained on the rows.
        StepFailed: If no trial completed.
    """
    space.check(project.tuning, project.training)
    fixed = {name: getattr(project.training, name) for name in TUNABLE}
    if project.tuning.trials == 0 or "network" not in project.training.families:
        return _write(out, fixed, project, trials=[], resumed=0, importance=None)
    search.sampler(project.tuning, seed)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    task = StudyTask(project, splits, seed, study_storage, key(project, splits, seed))
    with exclusive(study_storage, task.key):
        study = search.open_study(task)
        finished = len(study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED)))
        remaining = search.resume(study, task)
        log.info("study %s: %d trials finished, %d to run", task.key, finished, remaining)
        if remaining:
            search.run(study, task, remaining)
    trials = study.get_trials()
    if not any(trial.state == TrialState.COMPLETE for trial in trials):
        raise StepFailed(
            f"none of the {len(trials)} trials completed; raise 'tuning.timeout_s' or lower the learning rates."
        )
    return _write(
        out, fixed | study.best_params, project, trials=trials, resumed=finished, importance=_importance(study)
    )


def key(project: Project, splits: Path, seed: int) -> str:
    """Return the name of a study: a hash of its rows, settings, inputs and seed, and of the model's source code."""
    source = {
        path.relative_to(_SHARED).as_posix(): files.sha256(path)
        for folder in _LEARNING_SOURCE
        for path in sorted(folder.glob("*.py"))
    }
    settings = project.model_dump(mode="json", include={"task", "label", "features", "training", "tuning"})
    rows = SplitSummary.read(splits).content_hash
    return "study-" + files.digest([rows, settings, seed, source])[:24]


def _write(
    out: Path,
    best: dict[str, Hyperparameter],
    project: Project,
    *,
    trials: list[optuna.trial.FrozenTrial],
    resumed: int,
    importance: dict[str, float] | None,
) -> dict[str, Hyperparameter]:
    states = [_STATES[trial.state] for trial in trials]
    values = [trial.value for trial in trials if trial.state == TrialState.COMPLETE and trial.value is not None]
    best_value = min(values) if values else None
    BestHyperparameters(hyperparameters=best).write(out)
    Trials(trials=tuple(_outcome(trial) for trial in trials)).write(out)
    StudySummary(
        sampler=project.tuning.sampler if trials else "none",
        pruner=project.tuning.pruner if trials else "none",
        trials=len(trials),
        complete=states.count("complete"),
        pruned=states.count("pruned"),
        failed=states.count("fail"),
        resumed=resumed,
        best_value=best_value,
        metric=f"validation {_METRIC[project.task]}",
        direction="minimize",
        importance=importance,
    ).write(out)
    return best if best_value is None else best | {"validation_loss": best_value}


def _outcome(trial: optuna.trial.FrozenTrial) -> TrialOutcome:
    return TrialOutcome(
        number=trial.number,
        state=_STATES[trial.state],
        params=trial.params,
        intermediate=tuple(trial.intermediate_values[step] for step in sorted(trial.intermediate_values)),
        value=trial.value if trial.state == TrialState.COMPLETE else None,
        duration_s=None if trial.duration is None else round(trial.duration.total_seconds(), 3),
    )


def _importance(study: optuna.Study) -> dict[str, float] | None:
    """Return the importance of each hyperparameter (shares that sum to 1), or None with too few completed trials."""
    complete = study.get_trials(states=(TrialState.COMPLETE,))
    if len(complete) < _MIN_TRIALS_FOR_IMPORTANCE or len({trial.value for trial in complete}) < 2:
        return None
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=0.25)
    shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {name: round(float(share), 4) for name, share in shares.items()}
