"""Run the trials of a study: samplers, pruners, workers, and what a kill left behind."""

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
from components.shared.project import Project, Training, Tuning
from components.tuning import space
from components.tuning.storage import storage
from components.tuning.task import Objective, StudyTask

log = logging.getLogger(__name__)


def pruner(tuning: Tuning, epochs: int) -> optuna.pruners.BasePruner:
    """Return the rule that stops a trial early."""
    if tuning.pruner == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=tuning.startup_trials, n_warmup_steps=tuning.warmup_epochs)
    if tuning.pruner == "hyperband":
        least = min(max(1, tuning.warmup_epochs), epochs)
        return optuna.pruners.HyperbandPruner(min_resource=least, max_resource=epochs, reduction_factor=3)
    return optuna.pruners.NopPruner()


def sampler(tuning: Tuning, seed: int) -> optuna.samplers.BaseSampler:
    """Return the rule that chooses the next point."""
    if tuning.sampler in ("random", "grid"):
        # The points of a grid are queued before the first trial: nothing is left to draw.
        return optuna.samplers.RandomSampler(seed=seed)
    if tuning.sampler == "gp":
        if find_spec("torch") is None:
            raise InputError(
                "the 'gp' sampler needs PyTorch (the extra 'gp'), and tuning is installed without; add 'torch' to "
                "components/tuning/requirements.in and run 'make lock STEP=tuning', or set 'tuning.sampler: tpe'."
            )
        return optuna.samplers.GPSampler(seed=seed)
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=max(3, tuning.trials // 4), multivariate=True)


def open_study(task: StudyTask) -> optuna.Study:
    """Open or create the study of a task."""
    return optuna.create_study(
        study_name=task.key,
        storage=storage(task.address, task.key),
        direction="minimize",
        pruner=pruner(task.project.tuning, task.project.training.epochs),
        load_if_exists=True,
    )


def resume(study: optuna.Study, task: StudyTask) -> int:
    """Queue again what a kill or a failure cut short; return how many trials are still to run."""
    tuning = task.project.tuning
    if "://" in task.address:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            optuna.storages.fail_stale_trials(study)
    else:
        for trial in study.get_trials(states=(TrialState.RUNNING,)):
            study.tell(trial.number, state=TrialState.FAIL)
    trials = study.get_trials()
    planned = space.planned(tuning, task.project.training, task.seed)
    known = [
        trial.params or trial.system_attrs.get("fixed_params") for trial in trials if trial.state != TrialState.FAIL
    ]
    broken = [t.params for t in trials if t.state == TrialState.FAIL and set(t.params) == set(tuning.space)]
    for point in [*planned, *broken]:
        if point not in known:
            study.enqueue_trial(point)
            known.append(point)
    done = sum(trial.state in (TrialState.COMPLETE, TrialState.PRUNED) for trial in trials)
    wanted = len(planned) if tuning.sampler == "grid" else tuning.trials
    return max(0, wanted - done)


def run(study: optuna.Study, task: StudyTask, remaining: int) -> None:
    """Run the remaining trials, in this process or in several beside each other."""
    tuning = task.project.tuning
    deadline = None if tuning.timeout_s is None else time.time() + tuning.timeout_s
    workers = min(tuning.workers, remaining)
    if workers <= 1:
        tickets = iter(range(remaining))
        _work(study, task, lambda: next(tickets, None) is not None, deadline, 0)
        return
    # A server process imports TensorFlow once and forks each worker before anything was computed.
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
            f"tuning workers ended with {codes}; finished trials are kept, so a new run goes on from there, and "
            "'tuning.workers: 1' shows the cause in this log."
        )


def _worker(task: StudyTask, slots: Any, deadline: float | None, number: int) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    _work(open_study(task), task, lambda: slots.acquire(block=False), deadline, number)


def _work(
    study: optuna.Study, task: StudyTask, ticket: Callable[[], bool], deadline: float | None, worker: int
) -> None:
    """Take trials until there are no tickets or no time left."""
    from components.tuning import objective

    judge = objective.objective(task)
    while ticket() and (deadline is None or time.time() < deadline):
        # A sampler that starts anew for each trial draws the same points whether or not the study was interrupted.
        past = len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED)))
        study.sampler = sampler(task.project.tuning, task.seed * 1_000_003 + past * 64 + worker)
        study.optimize(lambda trial: attempt(trial, task.project, judge), n_trials=1)


def _leave_with_parent() -> None:
    """End a worker whose parent was killed: nobody waits for its trial, and the next run repeats it."""
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():
        os._exit(1)


def attempt(trial: optuna.Trial, project: Project, objective: Objective) -> float:
    """Run one trial with the hyperparameters it draws, and end it early where the study's pruner says so.

    Raises:
        TrialPruned: If the pruner gives the trial up, or its loss is no number.
    """
    chosen = Training.model_validate(project.training.model_dump() | space.draw(trial, project.tuning))

    def report(epoch: int, loss: float) -> None:
        _leave_with_parent()
        if not math.isfinite(loss):
            raise optuna.TrialPruned(f"the loss of epoch {epoch} is {loss}")
        # Steps count from 0: then 'warmup_epochs: 5' lets five epochs pass, and the sixth may be the last.
        trial.report(loss, epoch - 1)
        if trial.should_prune():
            raise optuna.TrialPruned(f"pruned in epoch {epoch}")

    value = objective(chosen, report)
    log.info("trial %d: %.5f with %s", trial.number, value, trial.params)
    return value
