"""Search for the hyperparameters that do best on the validation rows."""

import logging
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from components.shared import files
from components.shared.errors import StepFailed
from components.shared.project import Project
from components.tuning import search, space
from components.tuning.storage import alone
from components.tuning.task import StudyTask

log = logging.getLogger(__name__)
_METRIC = {"binary": "log loss", "multiclass": "log loss", "regression": "squared error of the standardised label"}
# Fewer finished trials than this say nothing about what matters.
_ENOUGH_FOR_IMPORTANCE = 5
_SHARED = Path(__file__).parents[1] / "shared"
# What a trial's result depends on besides rows and settings.
_LEARNING_SOURCE = (_SHARED / "inputs", _SHARED / "learning")


def tune(project: Project, splits: Path, seed: int, study_storage: str, out: Path) -> dict[str, Any]:
    """Run or resume the study of these rows, and write what it found.

    Args:
        project: The use case; ``trials: 0`` takes its fixed hyperparameters.
        splits: Folder with ``train.parquet`` and ``validation.parquet``.
        seed: Decides the points that are tried, and the weights that each trial starts from.
        study_storage: A folder for journals, or a database URL; what finished there is not repeated.
        out: Gets ``best.json``, ``trials.json`` and ``study.json``.

    Returns:
        The best hyperparameters and their validation loss.

    Raises:
        InputError: If the search space cannot be searched, or the rows cannot train a model.
    """
    space.check(project.tuning, project.training)
    fixed = {name: getattr(project.training, name) for name in space.HYPERPARAMETERS}
    if project.tuning.trials == 0:
        return _write(out, fixed, project, trials=[], resumed=0, importance=None)
    search.sampler(project.tuning, seed)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    task = StudyTask(project, splits, seed, study_storage, key(project, splits, seed))
    with alone(study_storage, task.key):
        study = search.open_study(task)
        finished = len(study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED)))
        remaining = search.resume(study, task)
        log.info("study %s: %d trials finished, %d to run", task.key, finished, remaining)
        if remaining:
            search.run(study, task, remaining)
    trials = study.get_trials()
    if not any(trial.state == TrialState.COMPLETE for trial in trials):
        raise StepFailed(
            f"none of {len(trials)} trials was completed; allow more time ('tuning.timeout_s') or lower learning rates."
        )
    return _write(
        out, fixed | study.best_params, project, trials=trials, resumed=finished, importance=_importance(study)
    )


def key(project: Project, splits: Path, seed: int) -> str:
    """Name a study by all that its results depend on: rows, space, fixed values, inputs, seed, source of the model."""
    source = {
        path.relative_to(_SHARED).as_posix(): files.sha256(path)
        for folder in _LEARNING_SOURCE
        for path in sorted(folder.glob("*.py"))
    }
    told = project.model_dump(mode="json", include={"task", "label", "features", "training", "tuning"})
    rows = files.read_json(splits / "split.json")["content_hash"]
    return "study-" + files.digest([rows, told, seed, source])[:24]


def _write(
    out: Path, best: dict[str, Any], project: Project, *, trials: list[optuna.trial.FrozenTrial], resumed: int,
    importance: dict[str, float] | None,
) -> dict[str, Any]:  # fmt: skip
    states = [trial.state.name.lower() for trial in trials]
    values = [trial.value for trial in trials if trial.state == TrialState.COMPLETE and trial.value is not None]
    best_value = min(values) if values else None
    files.write_json(out / "best.json", best)
    files.write_json(out / "trials.json", [_told(trial) for trial in trials])
    files.write_json(
        out / "study.json",
        {
            "sampler": project.tuning.sampler if trials else "none",
            "pruner": project.tuning.pruner if trials else "none",
            "trials": len(trials),
            "complete": states.count("complete"),
            "pruned": states.count("pruned"),
            "failed": states.count("fail"),
            "resumed": resumed,
            "best_value": best_value,
            "metric": f"validation {_METRIC[project.task]}",
            "direction": "minimize",
            "importance": importance,
        },
    )
    return best if best_value is None else best | {"validation_loss": best_value}


def _told(trial: optuna.trial.FrozenTrial) -> dict[str, Any]:
    seconds = None if trial.duration is None else round(trial.duration.total_seconds(), 3)
    return {
        "number": trial.number,
        "state": trial.state.name.lower(),
        "params": trial.params,
        "intermediate": [trial.intermediate_values[step] for step in sorted(trial.intermediate_values)],
        "value": trial.value if trial.state == TrialState.COMPLETE else None,
        "duration_s": seconds,
    }


def _importance(study: optuna.Study) -> dict[str, float] | None:
    """Return each hyperparameter's share in being among the best, or None where nothing can be said."""
    complete = study.get_trials(states=(TrialState.COMPLETE,))
    if len(complete) < _ENOUGH_FOR_IMPORTANCE or len({trial.value for trial in complete}) < 2:
        return None
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=0.25)
    shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {name: round(float(share), 4) for name, share in shares.items()}
