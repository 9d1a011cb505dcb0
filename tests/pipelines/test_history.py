"""A run whose command was killed is not said to be running."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipelines import runs
from pipelines.command import terminal
from pipelines.command.verbs import status
from pipelines.targets import history, samples, state
from pipelines.targets.model import Services
from pipelines.targets.state import State


@pytest.fixture
def project(tmp_path: Path) -> State:
    return State(tmp_path, Services(endpoint=str(tmp_path / ".perennial" / "endpoint")))


def begun(project: State, day: int) -> runs.Run:
    run = runs.new("churn", "training", ["tuning", "deployment"], project.runs, datetime(2026, 1, day, tzinfo=UTC))
    run.step("tuning").state = "running"
    run.save()
    return run


def states(project: State) -> list[str]:
    return [run.state for run in history.records(project)]


def test_only_the_newest_run_of_a_command_that_holds_the_lock_is_running(project):
    begun(project, 1), begun(project, 2)

    assert states(project) == ["interrupted", "interrupted"]
    with state.exclusive(project, "run", wait=False):
        assert states(project) == ["running", "interrupted"]
    with state.exclusive(project, "gc", wait=False):
        assert states(project) == ["interrupted", "interrupted"]


def test_a_killed_run_is_shown_with_its_cut_off_step_and_nothing_is_written(project):
    run = begun(project, 1)
    before = (run.folder / "run.json").read_bytes()

    [shown] = history.records(project)

    assert (shown.exit_code, shown.reason) == (runs.INTERRUPTED, "the command was killed.")
    assert [step.state for step in shown.steps] == ["failed", "skipped"]
    assert (run.folder / "run.json").read_bytes() == before


def test_a_run_on_a_cluster_continues_without_the_command(project):
    run = begun(project, 1)
    run.remote = "remote"
    run.save()

    assert states(project) == ["running"]


def test_why_nothing_answers_tells_a_killed_run_from_one_under_way(project):
    run = begun(project, 1)

    assert f"the last run {run.id} ended as 'interrupted': the command was killed" in samples.why_nothing_answers(
        project
    )
    with state.exclusive(project, "run", wait=False):
        assert f"run {run.id} is still running" in samples.why_nothing_answers(project)


def test_status_says_that_a_killed_run_was_interrupted(project, capsys):
    begun(project, 1)

    terminal.console().print(status._runs(project, last=10))

    shown = capsys.readouterr().out
    assert "interrupted" in shown and "the command was killed" in shown
    assert "running" not in shown


def test_looking_at_the_lock_keeps_no_run_from_starting(project):
    project.folder.mkdir()
    for _ in range(20):
        with state.exclusive(project, "run", wait=False):
            assert state.holder(project) == "run"
        assert state.holder(project) is None


def test_only_the_owner_can_read_what_a_project_keeps(project):
    with state.exclusive(project, "run", wait=False):
        project.create()

    assert project.folder.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_was_opened_for_a_group_stays_open(project):
    project.create()
    project.folder.chmod(0o750)

    project.create()

    assert project.folder.stat().st_mode & 0o777 == 0o750
