"""Run the trials of a study: samplers, pruners, workers, and recovery from an interruption."""

import logging
import math
import multiprocessing
import os
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import optuna
from optuna.trial import TrialState

from components.shared.errors import InputError, StepFailed
from components.shared.learning import trees
from components.shared.project import Project, Tuning
from components.tuning import space
from components.tuning.storage import storage
from components.tuning.task import Objective, StudyTask

log = logging.getLogger(__name__)
_TREES_WARMUP = 10


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


def resume(study: optuna.Study, task: StudyTask) -> int:
    """Queue the planned points and the interrupted or failed trials again; return the number of remaining trials."""
    tuning = task.project.tuning
    if "://" in task.address:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            optuna.storages.fail_stale_trials(study)
    else:
        for trial in study.get_trials(states=(TrialState.RUNNING,)):
            study.tell(trial.number, state=TrialState.FAIL)
    trials = study.get_trials()
    planned = space.planned(tuning, task.project.training, task.family, task.seed)
    known_points = [
        trial.params or trial.system_attrs.get("fixed_params") for trial in trials if trial.state != TrialState.FAIL
    ]
    failed = [t.params for t in trials if t.state == TrialState.FAIL and set(t.params) == set(task.space)]
    for point in [*planned, *failed]:
        if point not in known_points:
            study.enqueue_trial(point)
            known_points.append(point)
    finished = sum(trial.state in (TrialState.COMPLETE, TrialState.PRUNED) for trial in trials)
    total = len(planned) if tuning.sampler == "grid" else tuning.trials
    return max(0, total - finished)


def run(study: optuna.Study, task: StudyTask, remaining: int) -> None:
    """Run the remaining trials, in this process or in several worker processes."""
    tuning = task.project.tuning
    deadline = None if tuning.timeout_s is None else time.time() + tuning.timeout_s
    workers = min(tuning.workers, remaining)
    if workers <= 1:
        numbers = iter(range(remaining))
        _work(study, task, lambda: next(numbers, None) is not None, deadline, 0)
        return
    # The fork server imports TensorFlow once; it forks the workers before TensorFlow computes anything.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["components.tuning.objective"])
    slots = context.Semaphore(remaining)
    processes = [
        context.Process(target=_worker, args=(task, slots, deadline, number), name=f"trials-{number}")
        for number in range(workers)
    ]
    try:
        for process in processes:
            process.start()
        for process in processes:
            process.join()
    finally:
        for process in processes:
            if process.is_alive():
                process.terminate()
    codes = {process.name: process.exitcode for process in processes if process.exitcode}
    if codes:
        raise StepFailed(
            f"tuning workers failed with the exit codes {codes}; set 'tuning.workers: 1' to see the cause in this log. "
            "Finished trials are kept, and a new run resumes the study."
        )


def _worker(task: StudyTask, slots: Any, deadline: float | None, number: int) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    _work(open_study(task), task, lambda: slots.acquire(block=False), deadline, number)


def _work(
    study: optuna.Study, task: StudyTask, start_next: Callable[[], bool], deadline: float | None, worker: int
) -> None:
    """Run trials while ``start_next`` allows another one and the deadline has not passed."""
    from components.tuning import objective

    loss = objective.objective(task)
    while start_next() and (deadline is None or time.time() < deadline):
        # A new sampler for each trial draws the same points whether or not the study was interrupted.
        finished = len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED)))
        study.sampler = sampler(task.project.tuning, task.seed * 1_000_003 + finished * 64 + worker)
        study.optimize(lambda trial: attempt(trial, task.project, task.family, loss), n_trials=1)


def _exit_if_orphaned() -> None:
    """Exit if the parent of this worker was killed; the next run repeats the trial."""
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():
        os._exit(1)


def attempt(trial: optuna.Trial, project: Project, family: str, objective: Objective) -> float:
    """Run one trial of a family with the hyperparameters that it draws; the study's pruner may stop it early.

    Raises:
        TrialPruned: If the pruner stops the trial, or its loss is not finite.
    """
    tuning = project.tuning
    drawn = space.draw(trial, tuning.space_of(family), as_grid=tuning.sampler == "grid")
    hyperparameters = project.training.tuned(family, drawn)

    def report(step: int, loss: float) -> None:
        _exit_if_orphaned()
        if not math.isfinite(loss):
            raise optuna.TrialPruned(f"the loss of step {step} is {loss}")
        # Steps count from 0, so that 'warmup_epochs: 5' protects five epochs and the sixth can be pruned.
        trial.report(loss, step - 1)
        if trial.should_prune():
            raise optuna.TrialPruned(f"pruned in step {step}")

    value = objective(hyperparameters, report)
    log.info("trial %d: %.5f with %s", trial.number, value, trial.params)
    return value
