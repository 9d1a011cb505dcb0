"""A study finds good hyperparameters, goes on where it was killed, and repeats nothing that was finished."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from components.shared.documents.best_hyperparameters import BestHyperparameters
from components.shared.documents.study import StudySummary
from components.shared.documents.trials import Trials
from components.shared.errors import StepFailed
from components.shared.project import Project
from components.tuning import logic
from tests.components import made_splits

SEED = 3
# How a journal says that a trial got its final state.
FINISHED = '"op_code":6'


def small(**tuning: object) -> Project:
    """Return a project whose trials take a fraction of a second."""
    return made_splits.project(tuning={"trials": 4, **tuning}, training={"epochs": 6, "families": ["plain", "network"]})


@pytest.fixture(scope="module")
def splits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_splits.write(tmp_path_factory.mktemp("splits"), made_splits.table(rows=600))


@pytest.fixture(scope="module")
def finished(splits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    logic.tune(small(), splits, SEED, str(folder / "storage"), folder / "study")
    return folder


def test_the_best_trial_is_the_one_with_the_lowest_loss_and_its_values_are_complete(finished):
    trials = Trials.read(finished / "study").trials
    study = StudySummary.read(finished / "study")
    best = min((trial for trial in trials if trial.state == "complete"), key=lambda trial: trial.value)

    assert study.best_value == best.value == pytest.approx(min(best.intermediate))
    assert (
        BestHyperparameters.read(finished / "study").hyperparameters
        == {"batch_size": 256, "embedding": 4} | best.params
    )
    assert study.complete + study.pruned == study.trials == 4


def test_a_finished_study_is_not_repeated(finished, splits, tmp_path):
    logic.tune(small(), splits, SEED, str(finished / "storage"), tmp_path)

    assert Trials.read(tmp_path).trials == Trials.read(finished / "study").trials
    assert StudySummary.read(tmp_path).resumed == 4


def test_another_seed_another_space_or_other_rows_are_another_study(splits, tmp_path):
    other = made_splits.write(tmp_path / "other", made_splits.table(rows=600, seed=1))
    keys = [
        logic.key(small(), "network", splits, SEED),
        logic.key(small(), "network", splits, SEED + 1),
        logic.key(small(sampler="random"), "network", splits, SEED),
        logic.key(small(), "network", other, SEED),
    ]

    assert len(set(keys)) == 4
    assert logic.key(small(), "network", splits, SEED) == keys[0]


def test_a_killed_study_goes_on_and_ends_as_if_it_had_not_been_killed(finished, splits, tmp_path):
    storage = tmp_path / "storage"
    victim = multiprocessing.get_context("spawn").Process(
        target=logic.tune, args=(small(), splits, SEED, str(storage), tmp_path / "never")
    )
    victim.start()
    _wait(lambda: _written(storage).count(FINISHED) >= 2, 120)
    os.kill(victim.pid, signal.SIGKILL)
    victim.join()
    killed_at = _written(storage)
    journal = next(storage.glob("*.journal"))
    journal.write_text(killed_at + '{"op_code":')

    logic.tune(small(), splits, SEED, str(storage), tmp_path / "study")
    study = StudySummary.read(tmp_path / "study")

    assert victim.exitcode == -signal.SIGKILL
    assert not (tmp_path / "never").exists()
    assert 1 <= study.resumed < 4
    assert study.complete + study.pruned == 4
    assert study.best_value == StudySummary.read(finished / "study").best_value
    assert BestHyperparameters.read(tmp_path / "study") == BestHyperparameters.read(finished / "study")


def _written(storage: Path) -> str:
    return "".join(path.read_text() for path in storage.glob("*.journal"))


def test_two_workers_share_one_study_and_run_no_trial_too_many(splits, tmp_path):
    logic.tune(small(workers=2), splits, SEED, str(tmp_path / "storage"), tmp_path / "study")
    trials = Trials.read(tmp_path / "study").trials

    assert [trial.state in ("complete", "pruned") for trial in trials] == [True] * 4
    assert len({str(trial.params) for trial in trials}) == 4
    assert multiprocessing.active_children() == []


def test_workers_do_not_outlive_a_killed_parent(splits, tmp_path):
    program = (
        "import sys; from pathlib import Path; from components.tuning import logic;"
        "from tests.components.tuning import test_study as t; splits, out = map(Path, sys.argv[1:]);"
        "logic.tune(t.small(workers=2, trials=500, pruner='none'), splits, t.SEED, str(out), out / 'study')"
    )
    command = [sys.executable, "-c", program, str(splits), str(tmp_path)]
    victim = subprocess.Popen(command, start_new_session=True, cwd=Path.cwd())
    finished = _wait(lambda: _written(tmp_path).count(FINISHED) >= 2, 180)
    victim.kill()
    victim.wait()
    ended = _wait(lambda: not _group_lives(victim.pid), 60)
    if not ended:
        os.killpg(victim.pid, signal.SIGKILL)

    assert finished
    assert ended


def _wait(until: Callable[[], bool], seconds: float) -> bool:
    deadline = time.time() + seconds
    while not (done := until()) and time.time() < deadline:
        time.sleep(0.05)
    return done


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_database_keeps_a_study_as_a_folder_does(splits, tmp_path):
    address = f"sqlite:///{tmp_path / 'studies.db'}"
    project = small(trials=2, space={"hidden": {"choices": ["none", "8"]}}, pruner="none")
    for name in ("one", "two"):
        logic.tune(project, splits, SEED, address, tmp_path / name)
    one, two = (Trials.read(tmp_path / name).trials for name in ("one", "two"))

    assert one == two
    assert StudySummary.read(tmp_path / "two").resumed == 2


def test_a_grid_is_tried_once_and_no_further_than_it_goes(splits, tmp_path):
    project = small(sampler="grid", trials=9, pruner="none", space={"hidden": {"choices": ["none", "8"]}})
    logic.tune(project, splits, SEED, str(tmp_path / "storage"), tmp_path / "study")
    trials = Trials.read(tmp_path / "study").trials

    assert sorted(trial.params["hidden"] for trial in trials) == ["8", "none"]


def test_hyperband_prunes_random_trials(splits, tmp_path):
    project = small(sampler="random", pruner="hyperband", trials=5, warmup_epochs=1)
    logic.tune(project, splits, SEED, str(tmp_path / "storage"), tmp_path / "study")

    assert StudySummary.read(tmp_path / "study").pruned > 0


def test_no_trials_take_the_fixed_hyperparameters(splits, tmp_path):
    project = made_splits.project(tuning={"trials": 0}, training={"hidden": "7", "bins": 5})
    best = logic.tune(project, splits, SEED, str(tmp_path / "storage"), tmp_path / "study")

    assert (best["hidden"], best["bins"]) == ("7", 5)
    assert Trials.read(tmp_path / "study").trials == ()


def test_a_study_without_time_for_one_trial_says_so(splits, tmp_path):
    with pytest.raises(StepFailed, match=r"none of the 1 trials of the network completed; raise 'tuning.timeout_s'"):
        logic.tune(small(timeout_s=1e-6), splits, SEED, str(tmp_path / "storage"), tmp_path / "study")

    assert not (tmp_path / "study").exists()


def test_a_project_without_networks_has_no_trial(splits, tmp_path):
    project = made_splits.project(tuning={"trials": 4}, training={"families": ["plain"]})
    logic.tune(project, splits, SEED, str(tmp_path / "storage"), tmp_path / "study")

    assert StudySummary.read(tmp_path / "study").trials == 0


def test_each_family_has_a_study_of_its_own_which_other_families_do_not_change(splits, tmp_path):
    network = small(trials=2)
    both = made_splits.project(
        tuning={"trials": 2}, training={"epochs": 6, "families": ["network", "trees"], "trees": {"rounds": 30}}
    )
    logic.tune(network, splits, SEED, str(tmp_path / "studies"), tmp_path / "first")
    best = logic.tune(both, splits, SEED, str(tmp_path / "studies"), tmp_path / "second")
    written, trials = StudySummary.read(tmp_path / "second"), Trials.read(tmp_path / "second").trials

    assert [(trial.family, trial.number) for trial in trials] == [
        ("network", 0), ("network", 1), ("trees", 0), ("trees", 1),
    ]  # fmt: skip
    assert written.resumed == 2
    assert best["trees.leaves"] in (4, 8, 16, 31, 63)
    assert written.best_value == min(trial.value for trial in trials if trial.value is not None)
    assert BestHyperparameters.read(tmp_path / "second").trees["leaves"] == best["trees.leaves"]


def test_trees_that_begin_slowly_are_not_pruned(splits, tmp_path):
    project = made_splits.project(
        tuning={"trials": 6, "startup_trials": 0, "warmup_epochs": 3},
        training={"families": ["trees"], "trees": {"rounds": 250, "patience": 250}},
    )
    logic.tune(project, splits, SEED, str(tmp_path / "studies"), tmp_path / "out")
    trials = Trials.read(tmp_path / "out").trials

    assert {(trial.family, trial.state, len(trial.intermediate)) for trial in trials} == {("trees", "complete", 25)}
