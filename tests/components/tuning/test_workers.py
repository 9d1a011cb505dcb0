"""A worker or a database that goes away costs no finished trial, and one retry of the trial that it interrupted."""

import contextlib
import multiprocessing
import os
import signal
import socket
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import optuna
import psycopg
import pytest
import sqlalchemy
from optuna.trial import FrozenTrial, TrialState

from components.shared import polling
from components.shared.documents.trials import Trials
from components.shared.errors import StepFailed
from components.shared.project import Project
from components.tuning import logic, search, workers
from components.tuning.task import StudyTask
from tests.components import made_splits

SEED = 5
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


@pytest.fixture(scope="module")
def splits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_splits.write(tmp_path_factory.mktemp("splits"), made_splits.table(rows=600))


@pytest.fixture
def postgres() -> Iterator[str]:
    """A schema of its own in the database of PERENNIAL_POSTGRES."""
    address = os.environ.get("PERENNIAL_POSTGRES")
    if not address:
        pytest.skip("PERENNIAL_POSTGRES names no database, such as postgresql+psycopg://127.0.0.1/test")
    schema = f"tuning_{uuid.uuid4().hex}"
    with psycopg.connect(address.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {schema}")
        yield f"{address}?options=-csearch_path%3D{schema}"
        connection.execute(f"DROP SCHEMA {schema} CASCADE")


@pytest.fixture(params=["folder", "postgres"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(request.getfixturevalue("postgres") if request.param == "postgres" else tmp_path / "studies")


def project(count: int = 2, trials: int = 6) -> Project:
    """Return a project whose trials take a second, and are all different."""
    return made_splits.project(
        tuning={"trials": trials, "workers": count, "pruner": "none", "sampler": "random",
                "space": {"learning_rate": {"low": 0.001, "high": 0.01, "log": True}}},
        training={"epochs": 40, "patience": 40, "families": ["plain", "network"]},
    )  # fmt: skip


def task_of(tuned: Project, splits: Path, address: str) -> StudyTask:
    return StudyTask(tuned, "network", splits, SEED, address, logic.key(tuned, "network", splits, SEED))


def kill_one_worker(study: optuna.Study, killed: list[FrozenTrial]) -> bool:
    """Kill a worker in the middle of a trial, once another trial has finished."""
    if not study.get_trials(states=FINISHED):
        return False
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        pid = int(trial.user_attrs.get(search.WORKER, "-0").rpartition("-")[2])
        if not pid or not trial.params:
            continue
        os.kill(pid, signal.SIGSTOP)
        if any(running.number == trial.number for running in study.get_trials(states=(TrialState.RUNNING,))):
            killed.append(trial)
            os.kill(pid, signal.SIGKILL)
            return True
        os.kill(pid, signal.SIGCONT)
    return False


def test_a_killed_worker_loses_no_finished_trial_and_its_trial_is_retried_exactly_once(address, splits, tmp_path):
    study, killed = search.open_study(task_of(project(), splits, address)), []
    killer = threading.Thread(
        target=lambda: polling.within(lambda: kill_one_worker(study, killed), deadline_s=120, poll_s=0.02)
    )
    killer.start()
    logic.tune(project(), splits, SEED, address, tmp_path / "out")
    killer.join()
    trials = Trials.read(tmp_path / "out").trials
    retried = [trial.state for trial in trials if trial.params == killed[0].params]

    assert sorted(retried) == ["complete", "fail"]
    assert [trial.state for trial in trials].count("complete") == 6
    assert len(trials) == 7


def test_an_error_in_a_worker_is_not_retried(splits, tmp_path):
    """A learning rate that is no number passes for a queued point and fails in every worker."""
    task = task_of(project(), splits, str(tmp_path / "studies"))
    study = search.open_study(task)
    study.enqueue_trial({"learning_rate": "fast"})

    with pytest.raises(StepFailed, match=r"tuning workers failed with the exit codes \{'.*': 1\}"):
        workers.run(study, task)
    assert len(study.get_trials(states=(TrialState.FAIL,))) == 1


def heartbeat(postgres: str, trial: optuna.Trial, *, minutes: int) -> None:
    """Let a trial of another machine have had its last heartbeat some minutes ago."""
    beat = "INSERT INTO trial_heartbeats (trial_id, heartbeat) VALUES (:trial, now() - :minutes * interval '1 minute')"
    with sqlalchemy.create_engine(postgres).begin() as connection:
        connection.execute(sqlalchemy.text(beat), {"trial": trial._trial_id, "minutes": minutes})


def test_a_trial_whose_heartbeat_has_stopped_is_retried_once_and_one_that_beats_is_awaited(postgres, splits, tmp_path):
    tuned = project(count=1, trials=2)
    study = search.open_study(task_of(tuned, splits, postgres))
    stopped, beating = study.ask(), study.ask()
    for trial in (stopped, beating):
        trial.suggest_float("learning_rate", 0.001, 0.01, log=True)
    heartbeat(postgres, stopped, minutes=10)
    heartbeat(postgres, beating, minutes=0)

    def finish_elsewhere() -> None:
        polling.within(lambda: bool(study.get_trials(states=FINISHED)), deadline_s=120, poll_s=0.02)
        study.tell(beating, 0.25)

    other_machine = threading.Thread(target=finish_elsewhere)
    other_machine.start()
    logic.tune(tuned, splits, SEED, postgres, tmp_path / "out")
    other_machine.join()
    trials = Trials.read(tmp_path / "out").trials

    assert sorted(trial.state for trial in trials if trial.params == stopped.params) == ["complete", "fail"]
    assert [trial.value for trial in trials if trial.params == beating.params] == [0.25]
    assert [trial.state for trial in trials].count("complete") == 2


def test_a_trial_of_a_machine_that_was_killed_before_its_first_heartbeat_is_replaced(postgres, splits):
    task = task_of(project(count=1, trials=1), splits, postgres)
    study = search.open_study(task)
    number = study.ask().number
    with sqlalchemy.create_engine(postgres).begin() as connection:
        connection.execute(sqlalchemy.text("UPDATE trials SET datetime_start = now() - interval '10 minutes'"))
    unclaimed = search.unclaimed(search.open_study(task), task)

    assert unclaimed == 1
    assert search.open_study(task).get_trials()[number].state == TrialState.FAIL


@pytest.mark.parametrize("kind", ["drawn", "grid"])
def test_machines_that_share_a_database_run_each_trial_once_and_end_with_the_same_trials(
    postgres, splits, tmp_path, kind
):
    choices = {"learning_rate": {"choices": [0.001 * step for step in range(1, 7)]}}
    drawn = {"learning_rate": {"low": 0.001, "high": 0.01, "log": True}}
    tuned = made_splits.project(
        tuning={"trials": 6, "pruner": "none", "sampler": "grid" if kind == "grid" else "random",
                "space": choices if kind == "grid" else drawn},
        training={"epochs": 3, "families": ["plain", "network"]},
    )  # fmt: skip
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["components.tuning.storage", "components.tuning.objective"])
    machines = [
        context.Process(target=logic.tune, args=(tuned, splits, SEED, postgres, tmp_path / f"machine-{number}"))
        for number in range(3)
    ]
    for machine in machines:
        machine.start()
    for machine in machines:
        machine.join()
    first, *others = (Trials.read(tmp_path / f"machine-{number}").trials for number in range(3))

    assert [trial.state for trial in first] == ["complete"] * 6
    assert len({str(trial.params) for trial in first}) == 6
    assert others == [first] * 2


def test_a_database_that_closed_its_connections_between_two_trials_is_connected_again(postgres, splits):
    name = uuid.uuid4().hex
    study = search.open_study(task_of(project(), splits, f"{postgres}&application_name={name}"))
    study.enqueue_trial({"learning_rate": 0.01})
    ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s"
    with psycopg.connect(postgres.replace("+psycopg", "")) as connection:
        closed = connection.execute(ended, [name]).fetchall()

    assert closed
    assert [trial.state for trial in study.get_trials()] == [TrialState.WAITING]


class Cable:
    """Carries connections to a database, until it is cut."""

    def __init__(self, host: str, port: int) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self._ends: list[socket.socket] = []
        self._host, self._port = host, port
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self._server.getsockname()[1])

    def cut(self) -> None:
        for end in (self._server, *self._ends):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._server.accept()
                far = socket.create_connection((self._host, self._port))
                self._ends += [near, far]
                for source, target in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=(source, target), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while block := source.recv(1 << 16):
                target.sendall(block)


@pytest.mark.parametrize("count", [1, 2])
def test_a_database_that_goes_away_between_two_trials_is_a_sentence_and_finished_trials_stay(
    postgres, splits, tmp_path, count
):
    url = sqlalchemy.make_url(postgres)
    cable = Cable(url.host or "127.0.0.1", url.port or 5432)
    through = url.set(host="127.0.0.1", port=cable.port).render_as_string(hide_password=False)
    tuned = project(count)
    study = search.open_study(task_of(tuned, splits, postgres))

    def cut() -> None:
        polling.within(lambda: len(study.get_trials(states=FINISHED)) >= 2, deadline_s=300, poll_s=0.02)
        cable.cut()

    cutter = threading.Thread(target=cut)
    cutter.start()
    with pytest.raises(StepFailed, match=r"study storage '.*' stopped answering: .*Finished trials are kept"):
        logic.tune(tuned, splits, SEED, through, tmp_path / "never")
    cutter.join()
    kept = {trial.number: trial.value for trial in study.get_trials(states=FINISHED)}
    with sqlalchemy.create_engine(postgres).begin() as connection:
        # The next run is later: until its heartbeat has stopped for a while, a trial may be another machine's.
        connection.execute(sqlalchemy.text("UPDATE trial_heartbeats SET heartbeat = heartbeat - interval '10 minutes'"))
    logic.tune(tuned, splits, SEED, postgres, tmp_path / "out")
    after = {trial.number: trial.value for trial in study.get_trials(states=FINISHED)}

    assert len(kept) >= 2
    assert kept.items() <= after.items() and len(after) == 6
    assert not (tmp_path / "never").exists()
