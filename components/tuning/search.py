"""Open or resume a study: its sampler, its pruner, and which trials it still needs."""

import warnings
from collections.abc import Collection
from datetime import datetime, timedelta
from importlib.util import find_spec
from typing import Any

import optuna
from optuna.trial import TrialState

from components.shared.errors import InputError
from components.shared.learning import trees
from components.shared.project import Tuning
from components.tuning import space
from components.tuning.storage import GRACE_S, storage
from components.tuning.task import StudyTask
from components.tuning.turns import turn

_TREES_WARMUP = 10
WORKER = "worker"
"""The attribute of a trial that names the process that runs it."""


def _steps(task: StudyTask) -> int:
    """Return how often a trial reports its loss at most."""
    training = task.project.training
    return max(1, training.trees.rounds // trees.STEP) if task.family == "trees" else training.epochs


def _warmup(task: StudyTask) -> int:
    """Return the number of first steps in which a trial is never pruned.

    Small trees begin slowly and may end best, so they are given ten times as many steps as a network.
    """
    return task.project.tuning.warmup_epochs * (_TREES_WARMUP if task.family == "trees" else 1)


def pruner(tuning: Tuning, steps: int, warmup: int) -> optuna.pruners.BasePruner:
    """Return the pruner, which stops unpromising trials early."""
    if tuning.pruner == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=tuning.startup_trials, n_warmup_steps=warmup)
    if tuning.pruner == "hyperband":
        first = min(max(1, warmup), steps)
        return optuna.pruners.HyperbandPruner(min_resource=first, max_resource=steps, reduction_factor=3)
    return optuna.pruners.NopPruner()


def sampler(tuning: Tuning, seed: int) -> optuna.samplers.BaseSampler:
    """Return the sampler, which chooses the hyperparameters of the next trial."""
    if tuning.sampler in ("random", "grid"):
        # All points of a grid are queued before the first trial, so the sampler never draws one.
        return optuna.samplers.RandomSampler(seed=seed)
    if tuning.sampler == "gp":
        if find_spec("torch") is None:
            raise InputError(
                "the sampler 'gp' requires PyTorch, which is not installed in this step; add 'torch' to "
                "components/tuning/requirements.in and run 'make lock STEP=tuning', or set 'tuning.sampler: tpe'."
            )
        return optuna.samplers.GPSampler(seed=seed)
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=max(3, tuning.trials // 4), multivariate=True)


def open_study(task: StudyTask) -> optuna.Study:
    """Open the study of a task; create it if absent."""
    return optuna.create_study(
        study_name=task.key,
        storage=storage(task.address, task.key),
        direction="minimize",
        pruner=pruner(task.project.tuning, _steps(task), _warmup(task)),
        load_if_exists=True,
    )


def resume(study: optuna.Study, task: StudyTask, dead_workers: Collection[str] = ()) -> int:
    """Queue the planned points and the interrupted or failed trials again; return the number of unclaimed trials.

    The lock of a folder says that whatever is still running there was interrupted. A database may be shared with
    other machines: there a trial was interrupted if its worker is known to be dead, or its heartbeat has stopped.

    Args:
        study: The study.
        task: What the study is for.
        dead_workers: Names of workers that have ended early; see ``workers.worker_name``.
    """
    with turn(task.address, task.key):
        if task.is_shared:
            _fail_stopped(study)
        for trial in study.get_trials(states=(TrialState.RUNNING,)):
            if not task.is_shared or trial.user_attrs.get(WORKER) in dead_workers:
                study.tell(trial.number, state=TrialState.FAIL)
        trials = study.get_trials()
        queued = [_point(trial) for trial in trials if trial.state != TrialState.FAIL]
        failed = [_point(trial) for trial in trials if trial.state == TrialState.FAIL]
        for point in [*_planned(task), *(point for point in failed if set(point) == set(task.space))]:
            if point not in queued:
                study.enqueue_trial(point)
                queued.append(point)
    return max(0, total(task) - started(study))


def unclaimed(study: optuna.Study, task: StudyTask) -> int:
    """Return the number of trials that no worker of any machine has started.

    On a database, a trial of a machine whose heartbeat has stopped is failed and queued once more before.
    """
    if task.is_shared:
        _fail_stopped(study)
    return max(0, total(task) - started(study))


def started(study: optuna.Study) -> int:
    """Return the number of trials that have finished or are running."""
    states = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)
    return len(study.get_trials(deepcopy=False, states=states))


def is_running(study: optuna.Study) -> bool:
    """Return whether a trial is running, on this machine or another."""
    return bool(study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)))


def total(task: StudyTask) -> int:
    """Return how many trials a study has: those of the project file, or the points of a grid that has fewer."""
    tuning = task.project.tuning
    return len(_planned(task)) if tuning.sampler == "grid" else tuning.trials


def _planned(task: StudyTask) -> list[dict[str, Any]]:
    return space.planned(task.project.tuning, task.project.training, task.family, task.seed)


def _fail_stopped(study: optuna.Study) -> None:
    """Fail the trials of machines that have stopped; Optuna queues once more what had a heartbeat."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        optuna.storages.fail_stale_trials(study)
    # A machine that is killed just after it started a trial leaves neither a heartbeat nor its worker's name.
    latest = datetime.now() - timedelta(seconds=GRACE_S)
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if WORKER not in trial.user_attrs and trial.datetime_start and trial.datetime_start < latest:
            study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)


def _point(trial: optuna.trial.FrozenTrial) -> dict[str, Any]:
    """Return the point of a trial; one that was queued has all of it before it draws its first value."""
    point: dict[str, Any] = trial.system_attrs.get("fixed_params") or trial.params
    return point
