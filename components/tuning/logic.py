"""Search for the hyperparameters with the lowest validation loss."""

import logging
from dataclasses import dataclass
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
from components.shared.learning import families
from components.shared.project import TUNABLE, Project
from components.tuning import search, space, workers
from components.tuning.storage import answering, exclusive
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
_SPACE = {"network": "space", "trees": "trees_space"}
_SHARED = Path(__file__).parents[1] / "shared"
# The source code that a trial's result depends on.
_LEARNING_SOURCE = (_SHARED / "inputs", _SHARED / "learning")


def tune(project: Project, splits: Path, seed: int, study_storage: str, out: Path) -> dict[str, Hyperparameter]:
    """Run or resume a study of these rows for each family that has hyperparameters, and write the results.

    Args:
        project: The project; with ``trials: 0``, or for a family that is not fitted, its fixed hyperparameters are the
            result.
        splits: Folder with ``train.parquet`` and ``validation.parquet``.
        seed: Seed of the sampler and of the initial weights of each trial.
        study_storage: A folder for journals, or a database URL; finished trials in it are not repeated.
        out: Folder for ``best.json``, ``trials.json`` and ``study.json``.

    Returns:
        The best hyperparameters, those of the trees below ``trees.``, and the lowest validation loss.

    Raises:
        InputError: If the search space is invalid, or no model can be trained on the rows.
        StepFailed: If no trial of a family completed.
    """
    space.check(project.tuning, project.training)
    search.sampler(project.tuning, seed)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    fitted: frozenset[str] = families.fitted(project) if project.tuning.trials else frozenset()
    studies = {
        family: _study(StudyTask(project, family, splits, seed, study_storage, key(project, family, splits, seed)))
        for family in TUNABLE
        if family in fitted and project.tuning.space_of(family)
    }
    best = {
        family: {name: getattr(project.training.of(family), name) for name in names}
        | (studies[family].best if family in studies else {})
        for family, names in TUNABLE.items()
    }
    return _write(out, best, project, studies)


@dataclass(frozen=True)
class _Found:
    """What the study of one family found."""

    best: dict[str, Hyperparameter]
    trials: list[optuna.trial.FrozenTrial]
    resumed: int
    importance: dict[str, float] | None

    @property
    def value(self) -> float:
        """Return the lowest validation loss."""
        values = [trial.value for trial in self.trials if trial.state == TrialState.COMPLETE]
        return min(float(value) for value in values if value is not None)


def _study(task: StudyTask) -> _Found:
    """Run or resume the study of one family."""
    with exclusive(task.address, task.key), answering(task.address):
        study = search.open_study(task)
        finished = len(study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED)))
        unclaimed = search.resume(study, task)
        log.info("%s, study %s: %d trials finished, %d to run", task.family, task.key, finished, unclaimed)
        workers.run(study, task)
        trials = study.get_trials()
    if not any(trial.state == TrialState.COMPLETE for trial in trials):
        raise StepFailed(
            f"none of the {len(trials)} trials of the {task.family} completed; raise 'tuning.timeout_s' or lower the "
            "learning rates."
        )
    prefix = "" if task.family == "network" else f"{task.family}."
    return _Found(study.best_params, trials, finished, _importance(study, prefix))


def key(project: Project, family: str, splits: Path, seed: int) -> str:
    """Return the name of a study: a hash of its rows, settings, inputs and seed, and of the model's source code.

    Settings of other families have no part in it, so that a study goes on when one is added.
    """
    source = {
        path.relative_to(_SHARED).as_posix(): files.sha256(path)
        for folder in _LEARNING_SOURCE
        for path in sorted(folder.glob("*.py"))
    }
    settings = project.model_dump(mode="json", include={"task", "label", "features", "tuning"})
    settings["tuning"] |= {"space": project.tuning.model_dump(mode="json")[_SPACE[family]], "trees_space": None}
    training = project.training.model_dump(mode="json", exclude={"families", "trees"})
    own = project.training.trees.model_dump(mode="json") if family == "trees" else None
    rows = SplitSummary.read(splits).content_hash
    return "study-" + files.digest([rows, family, settings, training, own, seed, source])[:24]


def _write(
    out: Path,
    best: dict[str, dict[str, Hyperparameter]],
    project: Project,
    studies: dict[str, _Found],
) -> dict[str, Hyperparameter]:
    outcomes = tuple(_outcome(family, trial) for family, study in studies.items() for trial in study.trials)
    states = [outcome.state for outcome in outcomes]
    ahead = min(studies.values(), key=lambda study: study.value, default=None)
    chosen = BestHyperparameters(hyperparameters=best["network"], trees=best["trees"])
    chosen.write(out)
    Trials(trials=outcomes).write(out)
    StudySummary(
        sampler=project.tuning.sampler if outcomes else "none",
        pruner=project.tuning.pruner if outcomes else "none",
        trials=len(outcomes),
        complete=states.count("complete"),
        pruned=states.count("pruned"),
        failed=states.count("fail"),
        resumed=sum(study.resumed for study in studies.values()),
        best_value=ahead and ahead.value,
        metric=f"validation {_METRIC[project.task]}",
        direction="minimize",
        importance=ahead and ahead.importance,
    ).write(out)
    return chosen.named | {"validation_loss": ahead.value} if ahead else chosen.named


def _outcome(family: str, trial: optuna.trial.FrozenTrial) -> TrialOutcome:
    return TrialOutcome(
        family=family,
        number=trial.number,
        state=_STATES[trial.state],
        params=trial.params,
        intermediate=tuple(trial.intermediate_values[step] for step in sorted(trial.intermediate_values)),
        value=trial.value if trial.state == TrialState.COMPLETE else None,
        duration_s=None if trial.duration is None else round(trial.duration.total_seconds(), 3),
    )


def _importance(study: optuna.Study, prefix: str) -> dict[str, float] | None:
    """Return the importance of each hyperparameter (shares that sum to 1), or None with too few completed trials."""
    complete = study.get_trials(states=(TrialState.COMPLETE,))
    if len(complete) < _MIN_TRIALS_FOR_IMPORTANCE or len({trial.value for trial in complete}) < 2:
        return None
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=0.25)
    shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {prefix + name: round(float(share), 4) for name, share in shares.items()}
