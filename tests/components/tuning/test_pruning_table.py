"""The pruner stops the lecture's fourth trial where the lecture says."""

import optuna
import pytest

from components.shared.project import Choice, Training, Tuning
from components.tuning import search, workers
from components.tuning.task import Report
from tests.components import made_splits

FORMER = (
    (0.56, 0.55, 0.54, 0.52, 0.50, 0.49, 0.48, 0.48, 0.47, 0.46),
    (0.48, 0.48, 0.47, 0.46, 0.46, 0.45, 0.43, 0.42, 0.42, 0.41),
    (0.58, 0.56, 0.55, 0.53, 0.51, 0.47, 0.46, 0.43, 0.42, 0.41),
)
FOURTH = (0.55, 0.54, 0.53, 0.52, 0.51, 0.50, 0.50, 0.50, 0.50, 0.50)
SPACE = {"bins": Choice(choices=(8, 16))}


def epochs_of_the_fourth_trial(pruner: optuna.pruners.BasePruner) -> int:
    """Run the four trials of the table and return after how many epochs the fourth was stopped."""
    project = made_splits.project(tuning=Tuning(space=SPACE))
    study = optuna.create_study(pruner=pruner, sampler=optuna.samplers.RandomSampler(seed=0))
    for losses in (*FORMER, FOURTH):

        def objective(chosen: Training, report: Report, losses: tuple[float, ...] = losses) -> float:
            for epoch, loss in enumerate(losses, start=1):
                report(epoch, loss)
            return min(losses)

        study.optimize(
            lambda trial, objective=objective: workers.attempt(trial, project, "network", objective), n_trials=1
        )
    return len(study.trials[3].intermediate_values)


def test_with_five_startup_trials_the_fourth_is_never_pruned():
    assert epochs_of_the_fourth_trial(optuna.pruners.MedianPruner()) == 10


@pytest.mark.parametrize(("warmup", "last"), [(0, 5), (5, 6)])
def test_after_three_startup_trials_the_fourth_ends_once_warm_and_worse_than_the_median(warmup, last):
    pruner = search.pruner(Tuning(startup_trials=3), steps=10, warmup=warmup)

    assert epochs_of_the_fourth_trial(pruner) == last


def test_without_a_pruner_every_trial_runs_to_its_end():
    assert epochs_of_the_fourth_trial(search.pruner(Tuning(pruner="none"), steps=10, warmup=0)) == 10


def test_a_loss_that_is_no_number_ends_its_trial():
    project = made_splits.project(tuning=Tuning(space=SPACE))
    study = optuna.create_study()

    study.optimize(
        lambda trial: workers.attempt(trial, project, "network", lambda _, report: report(1, float("nan")) or 0),
        n_trials=1,
    )

    assert study.trials[0].state == optuna.trial.TrialState.PRUNED
