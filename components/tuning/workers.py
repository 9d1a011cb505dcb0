"""Run the trials of a study, in this process or in several, and once more those whose worker was killed."""

import contextlib
import logging
import math
import multiprocessing
import os
import socket
import sys
import time

import optuna

from components.shared.errors import ExitCode, StepFailed
from components.shared.project import Project
from components.tuning import search, space
from components.tuning.storage import answering
from components.tuning.task import Objective, StudyTask
from components.tuning.turns import turn

log = logging.getLogger(__name__)
_POLL_S = 1.0


def run(study: optuna.Study, task: StudyTask) -> None:
    """Run trials until the study is complete, in this process or in several worker processes.

    Other machines may run trials of the same study. Those that they have claimed are awaited, so that every machine
    ends with the same trials; a trial whose machine goes away is run here.

    A trial is run once more if its worker was killed, or its database went away and is back.

    Raises:
        StepFailed: If a worker fails otherwise, or again.
    """
    tuning = task.project.tuning
    deadline = None if tuning.timeout_s is None else time.time() + tuning.timeout_s
    while not _is_past(deadline):
        if unclaimed := search.unclaimed(study, task):
            _share(study, task, min(tuning.workers, unclaimed), deadline)
        elif search.is_running(study):
            time.sleep(_POLL_S)
        else:
            return


def _is_past(deadline: float | None) -> bool:
    return deadline is not None and time.time() >= deadline


def _share(study: optuna.Study, task: StudyTask, workers: int, deadline: float | None) -> None:
    """Run trials until all are claimed."""
    if workers <= 1:
        _work(study, task, deadline)
        return
    ended_early = _in_processes(task, workers, deadline)
    if ended_early and all(code < 0 or code == ExitCode.FAILED for code in ended_early.values()):
        remaining = search.resume(study, task, ended_early)
        log.warning("workers ended early with the exit codes %s; %d trials to run", ended_early, remaining)
        ended_early = _in_processes(task, min(workers, remaining), deadline)
    if ended_early:
        raise StepFailed(
            f"tuning workers failed with the exit codes {ended_early}; set 'tuning.workers: 1' to see the cause in "
            "this log. Finished trials are kept, and a new run resumes the study."
        )


def worker_name(pid: int | None) -> str:
    """Name a worker of this machine by the id of its process."""
    return f"{socket.gethostname()}-{pid}"


def _in_processes(task: StudyTask, workers: int, deadline: float | None) -> dict[str, int]:
    """Run trials in worker processes; return the exit codes of those that ended early, by name."""
    # The fork server imports TensorFlow once; it forks the workers before TensorFlow computes anything.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["components.tuning.storage", "components.tuning.objective"])
    processes = [context.Process(target=_worker, args=(task, deadline)) for _ in range(workers)]
    try:
        for process in processes:
            process.start()
        for process in processes:
            process.join()
    finally:
        for process in processes:
            if process.is_alive():
                process.terminate()
    return {worker_name(process.pid): process.exitcode for process in processes if process.exitcode}


def _worker(task: StudyTask, deadline: float | None) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with answering(task.address):
            _work(search.open_study(task), task, deadline)
    except StepFailed as failure:
        log.error("%s", failure)
        sys.exit(failure.exit_code)


def _work(study: optuna.Study, task: StudyTask, deadline: float | None) -> None:
    """Run trials until all are claimed or the deadline has passed."""
    from components.tuning import objective

    loss = objective.objective(task)
    while not _is_past(deadline) and _run_next(study, task, loss):
        pass


def _run_next(study: optuna.Study, task: StudyTask, loss: Objective) -> bool:
    """Claim a trial and run it; return False if all are claimed."""
    with contextlib.ExitStack() as claiming:
        claiming.enter_context(turn(task.address, task.key))
        if not search.unclaimed(study, task):
            return False
        # A new sampler for each trial draws the same points whether or not the study was interrupted.
        study.sampler = search.sampler(task.project.tuning, task.seed * 1_000_003 + search.started(study) * 64)

        def run_claimed(trial: optuna.Trial) -> float:
            trial.set_user_attr(search.WORKER, worker_name(os.getpid()))
            claiming.close()
            return attempt(trial, task.project, task.family, loss)

        study.optimize(run_claimed, n_trials=1)
    return True


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
